"""JSON files of records: one on each line, one over several lines, or an array of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sources.record import UNREADABLE, BadRecord, Part, Record, load_json, opened

Convert = Callable[[dict[str, Any]], Record | None]
"""Makes a request of a record; None for one that is none, such as a response. Its place is filled in afterwards."""


_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)?"
)


def requests(part: Part, convert: Convert) -> Iterator[Record | BadRecord]:
    """Yield what ``convert`` makes of each record, and a note of each that it refuses."""
    for number, unit, value in _values(part.file):
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


def seconds(text: Any) -> float | None:
    """Return an RFC 3339 time as seconds since 1970; without a zone it is UTC. None for anything else."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if not match:
        return None
    zone = (match["zone"] or "Z").replace("Z", "+00:00")
    try:
        whole = datetime.fromisoformat(f"{match['date']}T{match['time']}{zone}").timestamp()
    except ValueError:
        return None
    return whole + float(match["fraction"] or 0)  # Go writes nine digits


def _values(file: str) -> Iterator[tuple[int, str, Any]]:
    """Yield number, unit and value of each record, or the error that says why there is none."""
    number = 0
    try:
        if not _is_lines(file):
            content = load_json(file)
            for number, value in enumerate(content if isinstance(content, list) else [content], 1):
                yield number, "record", value
            return
        with opened(file) as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, "line", _parsed(line)
    except SampleError as error:
        yield 0, "record", error
    except UNREADABLE as error:
        yield number + 1, "line", SampleError(f"cannot be read any further: {error}")


def _is_lines(file: str) -> bool:
    """Return whether the first line is an object of its own."""
    with opened(file) as stream:
        first = stream.readline().strip()
        return first.startswith(b"{") and (first.endswith(b"}") or bool(stream.readline().startswith(b"{")))


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return SampleError(f"not JSON: {error}")
