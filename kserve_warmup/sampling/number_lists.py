"""Lists of numbers in JSON text: where they end, and what they are, told by searches that run at the memory's speed."""

from __future__ import annotations

import re

_NUMERIC = b"0123456789.+-eE \t\r\n"
_DEEPEST = 64
_EMPTY = re.compile(rb"\[\s*\]")


def list_end(body: bytes, start: int, brace: int) -> int:
    """Return where a list of numbers ends: before the first quote or brace behind it. 0: it is none.

    Args:
        body: JSON text.
        start: where the list begins.
        brace: the first closing brace behind that, negative where there is none.
    """
    quote = body.find(b'"', start, brace)
    return 0 if brace < 0 else body.rfind(b"]", start, quote if quote >= 0 else brace) + 1


def numbers_type(text: bytes) -> type[int | float]:
    """Return what the numbers of a list are: floats if one of them is."""
    return float if b"." in text or b"e" in text or b"E" in text else int


def list_shape(text: bytes) -> tuple[int, ...] | None:
    """Return the shape of nested JSON lists of numbers; None when it takes parsing to tell, or they are uneven."""
    marks = text.translate(None, _NUMERIC)
    depth = len(marks) - len(marks.lstrip(b"["))
    if depth > _DEEPEST:
        return None
    shape: list[int] = []
    unit = b""
    for level in range(1, depth + 1):
        # The first list of this level begins at depth - level and ends at the first run of `level` closing brackets.
        length = marks.find(b"]" * level) + level - (depth - level)
        count, rest = divmod(length - 1, len(unit) + 1)
        if rest or count < 1:
            return None
        shape.insert(0, count)
        unit = b"[" + (unit + b",") * (count - 1) + unit + b"]"
    if not shape or unit != marks or (shape[-1] == 1 and _EMPTY.search(text)):
        return None
    return tuple(shape)
