"""What a cell of CSV holds: a number where readers of CSV take it for one, and text elsewhere.

Python takes more for a number, such as ``1_0`` and digits of other scripts. A number keeps its value.
"""

from __future__ import annotations

import re

_INTEGER = re.compile(r"[ \t]*[-+]?[0-9]+[ \t]*")
_FLOAT = re.compile(r"[ \t]*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[ \t]*")
_BEYOND = re.compile(r"[ \t]*[-+]?(?:nan|inf|infinity)[ \t]*", re.IGNORECASE)
_LONGEST = 400


def integer(cell: str) -> int:
    """Return the whole number that a cell holds.

    Raises:
        ValueError: it holds none.
    """
    if len(cell) > _LONGEST or not _INTEGER.fullmatch(cell):
        raise ValueError(cell[:_LONGEST])
    return int(cell)


def real(cell: str) -> float:
    """Return the number that a cell holds, NaN and infinity included.

    Raises:
        ValueError: it holds none.
    """
    if len(cell) > _LONGEST or not (_FLOAT.fullmatch(cell) or _BEYOND.fullmatch(cell)):
        raise ValueError(cell[:_LONGEST])
    return float(cell)


def value(cell: str) -> int | float | str:
    """Return what a cell holds as JSON has it: NaN, infinity and numbers beyond a double stay text."""
    try:
        return integer(cell)
    except ValueError:
        pass
    if len(cell) > _LONGEST or not _FLOAT.fullmatch(cell):
        return cell
    number = float(cell)
    return cell if number in (float("inf"), float("-inf")) else number
