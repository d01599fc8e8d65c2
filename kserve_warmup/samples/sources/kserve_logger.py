"""Blobs that KServe's inference logger stores: a JSON object for each request and response, or an array of them.

The keys are those of the Go struct ``LogRequest`` (``Bytes``, ``ReqType`` …) or, in newer versions, the same in camel
case; they are compared in lower case. Neither path nor method is recorded, and headers only when the InferenceService
lists them (``metadataHeaders``).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import Any

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sources import lines
from kserve_warmup.samples.sources.long_text import long_record, long_records
from kserve_warmup.samples.sources.record import BadRecord, Part, ReadOptions, Record, from_base64
from kserve_warmup.samples.sources.storage import UNREADABLE, opened
from kserve_warmup.samples.sources.times import seconds

_FIRST_KEY = re.compile(
    rb'\s*\[?\s*\{\s*"(?:url|bytes|contenttype|reqtype|id|sourceuri|inferenceservice|namespace)"\s*:', re.IGNORECASE
)
_CAMEL = {key.lower(): key for key in ("bytes", "reqType", "contentType", "metadata", "occurrenceTime")}
_OWN_KEY = re.compile(rb'"(?:bytes|reqtype)"\s*:', re.IGNORECASE)


def sniff(head: bytes) -> bool:
    """Return whether a file begins like a logger's blob."""
    return bool(_FIRST_KEY.match(head) and _OWN_KEY.search(head))


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the requests of a blob; responses are passed over."""
    try:
        yield from _requests(part, options.max_line)
    except UNREADABLE as error:
        yield BadRecord(part.file, f"cannot be read: {error}")


def _requests(part: Part, most: int) -> Iterator[Record | BadRecord]:
    for number, unit, record in _records(part, most):
        try:
            if isinstance(record, SampleError):
                raise record
            if not is_record(record):
                msg = "not a record of KServe's logger: it has no bytes and reqType"
                raise SampleError(msg)  # noqa: TRY301  (told apart from the others only here)
            yield from requests(record, part.file, number, unit)
        except SampleError as error:  # noqa: PERF203  (one bad record must not hide the others)
            yield BadRecord(part.file, str(error), number, unit)


def split(file: str, target: int) -> Iterator[Part]:
    """Yield parts of a blob that has a record on each line; others are read whole."""
    return lines.split(file, target) if lines.delimited(file) else iter([Part.whole(file)])


def _records(part: Part, most: int) -> Iterator[tuple[int, str, Any]]:
    """Yield each record, parsed, or why it could not be read, with its number and what that counts."""
    if part.start or part.stop or lines.delimited(part.file):
        for item in lines.read(part, most):
            if isinstance(item, BadRecord):
                yield item.number, item.unit, SampleError(item.reason)
            else:
                number, unit, line = item
                long = long_record(line, stop=len(line))
                yield number, unit, long.fields if long else _loaded(line)
        return
    for number, record in enumerate(_array(part.file), 1):
        yield number, "record", record


def _array(file: str) -> Iterator[Any]:
    """Yield the records of an array, one after the other; what is no record of the usual form is parsed whole."""
    rest: Any = b""
    try:
        with opened(file) as stream:
            for rest in long_records(stream):
                if not isinstance(rest, bytes):
                    yield rest
    except SampleError as error:
        yield error
        return
    content = _loaded(rest)
    yield from content if isinstance(content, list) else [content]


def _loaded(text: bytes) -> Any:
    """Return what a JSON text holds, or the error that says why it is none."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return SampleError(f"not JSON: {error}")


def is_record(value: Any) -> bool:
    """Return whether a JSON value is what the logger writes for a request or a response."""
    if not isinstance(value, dict):
        return False
    return ("bytes" in value and "reqType" in value) or {"bytes", "reqtype"} <= {key.lower() for key in value}


def requests(record: dict[str, Any], file: str, number: int, unit: str = "record") -> Iterator[Record]:
    """Yield the request of a record, or nothing for a response.

    Raises:
        SampleError: the record is damaged.
    """
    fields = record if "reqType" in record else {_CAMEL.get(key.lower(), key): v for key, v in record.items()}
    if str(fields["reqType"]).lower().endswith("response"):
        return
    try:
        body = from_base64(fields["bytes"] or "")
    except (binascii.Error, ValueError, TypeError):
        msg = "the record's bytes are not base64"
        raise SampleError(msg) from None
    headers = recorded_headers(fields.get("metadata"))
    content_type = fields.get("contentType")
    if isinstance(content_type, str) and content_type:
        headers.setdefault("content-type", content_type)
    yield Record(file, number, body, headers, time=seconds(fields.get("occurrenceTime")), unit=unit)


def recorded_headers(metadata: Any) -> dict[str, str]:
    """Return the headers in ``metadata``, a JSON object, or its text, of lists of values."""
    if isinstance(metadata, str):
        try:
            metadata = orjson.loads(metadata or b"{}")
        except orjson.JSONDecodeError:
            metadata = {}
    if not isinstance(metadata, dict):
        return {}
    headers = {}
    for name, value in metadata.items():
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, str):
            headers[name.lower()] = first
    return headers
