"""CloudEvents as KServe's and Seldon's loggers send them: structured JSON, one or many, or HTTP messages as received.

A message in binary mode has the event's attributes in ``ce-`` headers and the request as its body, byte for byte. Of a
structured event's ``data`` the bytes are only known when it is ``data_base64``: JSON is written anew.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from email.parser import BytesHeaderParser
from typing import Any, BinaryIO

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sources import documents
from kserve_warmup.samples.sources.kserve_logger import recorded_headers
from kserve_warmup.samples.sources.record import BadRecord, Part, ReadOptions, Record, from_base64
from kserve_warmup.samples.sources.storage import UNREADABLE, exactly, opened, whole
from kserve_warmup.samples.sources.times import seconds

_STRUCTURED = re.compile(rb"\s*[\[{]")
_SPECVERSION = re.compile(rb'"specversion"\s*:\s*"')
_REQUEST_LINE = re.compile(rb"(?:POST|PUT) \S+ HTTP/[\d.]+\r?\n")
_MESSAGE = re.compile(rb"(?:(?:POST|PUT) \S+ HTTP/[\d.]+\r?\n)?(?:[\w-]+:[^\n]*\n)*?ce-specversion:", re.IGNORECASE)
_LENGTH = re.compile(r"[0-9]{1,18}")
_LONGEST_HEADER = 1 << 16
_MOST_HEADERS = 1000


def sniff(head: bytes) -> bool:
    """Return whether a file begins like a structured event, or like a message with an event's headers."""
    return bool(_MESSAGE.match(head) or (_STRUCTURED.match(head) and _SPECVERSION.search(head)))


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the requests; responses are passed over."""
    try:
        with opened(part.file) as stream:
            structured = _STRUCTURED.match(stream.read(256))
        yield from (
            documents.requests(part, structured_event, options.max_line)
            if structured
            else _messages(part.file, options.max_body)
        )
    except SampleError as error:
        yield BadRecord(part.file, str(error))
    except UNREADABLE as error:
        yield BadRecord(part.file, f"cannot be read: {error}")


def is_event(value: Any) -> bool:
    """Return whether a JSON value is a structured CloudEvent."""
    return isinstance(value, dict) and "specversion" in value and "type" in value


def structured_event(event: dict[str, Any]) -> Record | None:
    """Return the request of a structured event, None for a response."""
    if not is_event(event):
        raise SampleError("not a CloudEvent: it has no specversion and type")
    if _is_response(event["type"]):
        return None
    headers = recorded_headers(event.get("metadata"))
    content_type = event.get("datacontenttype")
    if isinstance(content_type, str):
        headers.setdefault("content-type", content_type)
    return Record("", 0, _data(event), headers, time=seconds(event.get("time")))


def binary_event(headers: Mapping[str, str], body: bytes) -> Record | None:
    """Return the request of an event in binary mode, None for a response.

    Args:
        headers: of the message, in lower case: the event's own begin with ``ce-``.
        body: the message's body.
    """
    if _is_response(headers.get("ce-type", "")):
        return None
    kept = recorded_headers(headers.get("ce-metadata"))
    if "content-type" in headers:
        kept.setdefault("content-type", headers["content-type"])
    return Record("", 0, body, kept, time=seconds(headers.get("ce-time")))


def is_response(headers: Mapping[str, str]) -> bool:
    """Return whether the headers, in any case, are those of an event in binary mode that logs a response."""
    return any(name.lower() == "ce-type" and _is_response(kind) for name, kind in headers.items())


def _is_response(kind: Any) -> bool:
    return str(kind).lower().endswith(("response", "feedback"))


def _data(event: dict[str, Any]) -> bytes:
    try:
        if "data_base64" in event:
            return from_base64(event["data_base64"])
    except (binascii.Error, ValueError, TypeError):
        raise SampleError("the event's data_base64 is not base64") from None
    if "data" not in event:
        raise SampleError("the event has no data")
    data = event["data"]
    return data.encode() if isinstance(data, str) else orjson.dumps(data)


def _messages(file: str, most: int) -> Iterator[Record | BadRecord]:
    """Yield the requests of HTTP messages, one after another where each tells its length."""
    with opened(file) as stream:
        number = 0
        while (headers := _headers(stream)) is not None:
            number += 1
            if "ce-type" not in headers:
                yield BadRecord(file, "not a CloudEvent: the message has no header ce-type", number)
                return
            length = _LENGTH.fullmatch(headers.get("content-length", ""))
            if length and int(length[0]) > most:
                reason = f"the message claims a body of {length[0]} bytes, more than --max-body {most}"
                yield BadRecord(file, reason, number)
                return
            body = exactly(stream, int(length[0])) if length else whole(stream, most)
            if length and len(body) < int(length[0]):
                yield BadRecord(file, f"the message is cut off: {len(body)} of {length[0]} bytes are there", number)
                return
            record = binary_event(headers, body)
            if record is not None:
                yield documents.placed(record, file, number, "record")


def _headers(stream: BinaryIO) -> dict[str, str] | None:
    """Return the next message's headers in lower case, None at the end."""
    lines: list[bytes] = []
    while line := stream.readline(_LONGEST_HEADER):
        if line.strip():
            lines.append(line)
            if len(lines) > _MOST_HEADERS:
                raise SampleError(f"a message has more than {_MOST_HEADERS} headers")
        elif lines:
            break
    if not lines:
        return None
    if _REQUEST_LINE.match(lines[0]):
        del lines[0]
    parsed = BytesHeaderParser().parsebytes(b"".join(lines))
    return {name.lower(): str(value) for name, value in parsed.items()}
