"""JSON files of records: one on each line, one over several lines, or an array of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.sampling.formats import lines
from kserve_warmup.sampling.formats.record import (
    Answer,
    BadRecord,
    Convert,
    Part,
    ReadOptions,
    Record,
    converted,
    load_json,
    parsed,
)
from kserve_warmup.sampling.formats.storage import opened

_LONGEST = 1 << 24


def _array(file: str) -> list[Any]:
    content = load_json(file)
    return content if isinstance(content, list) else [content]


def requests(
    part: Part,
    convert: Convert,
    options: ReadOptions,
    parse: Callable[[bytes], Any] = parsed,
    array: Callable[[str], Iterable[Any]] = _array,
) -> Iterator[Record | BadRecord]:
    """Yield what ``convert`` makes of each record, and a note of each that it refuses or that is too long.

    Args:
        part: what to read.
        convert: makes a request of a JSON object.
        options: how long a line may be, and whether answers are told.
        parse: reads a line.
        array: yields the records of a file that has them on no lines of their own.
    """

    def made(value: Any, file: str, number: int, unit: str) -> Record | Answer | None:
        record = parse(value) if isinstance(value, bytes) else value
        if not isinstance(record, dict):
            raise SampleError(f"a record is a JSON object, not {type(record).__name__}")
        return convert(record, file, number, unit)

    if part.start or part.stop or _is_lines(part.file):
        return converted(lines.read(part, options.max_line), made, part.file, answers=options.answers)
    values = ((n, "record", value) for n, value in enumerate(array(part.file), 1))
    return converted(values, made, part.file, answers=options.answers)


def split(file: str, target: int) -> Iterator[Part]:
    """Yield parts of a file that has a record on each line; others are read whole."""
    return lines.split(file, target) if _is_lines(file) else iter([Part.whole(file)])


def _is_lines(file: str) -> bool:
    """Return whether the first line is an object of its own; should it be a broken one, the second tells."""
    with opened(file) as stream:
        line = stream.readline(_LONGEST) if stream.read(1) == b"{" else b""
        first = line.strip()
        if len(line) == _LONGEST:
            return True  # too long to look for its end
        return first.endswith(b"}") or (bool(first) and stream.read(1) == b"{")
