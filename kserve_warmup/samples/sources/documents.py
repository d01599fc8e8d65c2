"""JSON files of records: one on each line, one over several lines, or an array of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sources import lines
from kserve_warmup.samples.sources.record import BadRecord, Part, Record, load_json
from kserve_warmup.samples.sources.storage import UNREADABLE, opened

_LONGEST = 1 << 24

Convert = Callable[[dict[str, Any]], Record | None]
"""Makes a request of a record; None for one that is none, such as a response. Its place is filled in afterwards."""


def requests(part: Part, convert: Convert, most: int) -> Iterator[Record | BadRecord]:
    """Yield what ``convert`` makes of each record, and a note of each that it refuses or that is beyond ``most``."""
    for number, unit, value in _values(part, most):
        try:
            if isinstance(value, SampleError):
                raise value
            if not isinstance(value, dict):
                raise SampleError(f"a record is a JSON object, not {type(value).__name__}")  # noqa: TRY301
            record = convert(value)
        except SampleError as error:
            yield BadRecord(part.file, str(error), number, unit)
            continue
        if record is not None:
            yield placed(record, part.file, number, unit)


def placed(record: Record, file: str, number: int, unit: str) -> Record:
    """Return a record with the place where it stands."""
    return Record(
        file, number, record.body, record.headers, record.path, record.protocol, record.status, record.time, unit
    )


def split(file: str, target: int) -> Iterator[Part]:
    """Yield parts of a file that has a record on each line; others are read whole."""
    return lines.split(file, target) if _is_lines(file) else iter([Part.whole(file)])


def _values(part: Part, most: int) -> Iterator[tuple[int, str, Any]]:
    """Yield number, unit and value of each record, or the error that says why there is none."""
    try:
        if part.start or part.stop or _is_lines(part.file):
            for item in lines.read(part, most):
                if isinstance(item, BadRecord):
                    yield item.number, item.unit, SampleError(item.reason)
                else:
                    number, unit, line = item
                    yield number, unit, _parsed(line)
            return
        content = load_json(part.file)
    except SampleError as error:
        yield 0, "record", error
    except UNREADABLE as error:
        yield 0, "record", SampleError(f"cannot be read: {error}")
    else:
        for number, value in enumerate(content if isinstance(content, list) else [content], 1):
            yield number, "record", value


def _is_lines(file: str) -> bool:
    """Return whether the first line is an object of its own; should it be a broken one, the second tells."""
    with opened(file) as stream:
        line = stream.readline(_LONGEST) if stream.read(1) == b"{" else b""
        first = line.strip()
        if len(line) == _LONGEST:
            return True  # too long to look for its end
        return first.endswith(b"}") or (bool(first) and stream.read(1) == b"{")


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return SampleError(f"not JSON: {error}")
