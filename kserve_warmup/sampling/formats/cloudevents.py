"""CloudEvents as KServe's and Seldon's loggers send them: structured JSON, one or many, or HTTP messages as received.

A message in binary mode has the event's attributes in ``ce-`` headers and the request as its body, byte for byte. Of a
structured event's ``data`` the bytes are only known when it is ``data_base64``: JSON is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.parser import BytesHeaderParser
from typing import Any, BinaryIO

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import json_bytes, unbase64
from kserve_warmup.sampling.formats import documents, seldon
from kserve_warmup.sampling.formats.encodings import plain
from kserve_warmup.sampling.formats.kserve_logger import identified, recorded_headers
from kserve_warmup.sampling.formats.record import (
    Answer,
    BadRecord,
    Part,
    ReadOptions,
    Record,
    converted,
    noted,
    parsed,
    seconds,
)
from kserve_warmup.sampling.formats.storage import exactly, opened, whole

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


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the requests; responses are passed over."""
    with opened(part.file) as stream:
        structured = _STRUCTURED.match(stream.read(256))
    if structured:
        yield from documents.requests(part, _structured_event, options)
    else:
        messages = _messages(part.file, options.max_body)
        yield from converted(messages, _request, part.file, answers=options.answers)


def _structured_event(event: dict[str, Any], file: str, number: int, unit: str) -> Record | Answer:
    """Return the request of a structured event, or that it is a response."""
    if "specversion" not in event or "type" not in event:
        raise SampleError("not a CloudEvent: it has no specversion and type")
    key = identified(event.get("id"))
    if is_answer(event["type"]):
        return Answer(key or "")
    headers = _headers_of(event.get("metadata"), event.get("datacontenttype"))
    made = Record(file, number, _data(event), headers, time=seconds(event.get("time")), unit=unit, id=key)
    return request_of(made, event["type"])


def request_of(record: Record, kind: Any) -> Record:
    """Return the request that an event of this type holds, decompressed, and translated from Seldon's own protocol.

    Raises:
        SampleError: it cannot be.
    """
    record = plain(record)
    return seldon.translated(record) if "seldon" in str(kind).lower() else record


def _headers_of(metadata: Any, content_type: Any) -> dict[str, str]:
    headers = recorded_headers(metadata)
    if isinstance(content_type, str):
        headers.setdefault("content-type", content_type)
    return headers


def is_response(headers: Mapping[str, str]) -> bool:
    """Return whether the headers, in any case, are those of an event in binary mode that logs a response."""
    return any(name.lower() == "ce-type" and is_answer(kind) for name, kind in headers.items())


def is_answer(kind: Any) -> bool:
    """Return whether an event of this type logs a response, or what came of one."""
    return str(kind).lower().endswith(("response", "feedback"))


def _data(event: dict[str, Any]) -> bytes:
    if "data_base64" in event:
        return unbase64(event["data_base64"], "the event's data_base64 is not base64")
    if "data" not in event:
        raise SampleError("the event has no data")
    data = event["data"]
    return data.encode() if isinstance(data, str) else json_bytes(data)


def request_of_message(headers: Mapping[str, str], body: bytes) -> Record | None:
    """Return the request that one HTTP message brings, in binary or structured mode; None if it logs a response.

    Args:
        headers: of the message, their names in lower case.
        body: of the message.

    Raises:
        SampleError: it is no event.
    """
    if "ce-type" in headers:
        found = _request((dict(headers), body), "the message", 0, "record")
    else:
        event = parsed(body)
        if not isinstance(event, dict):
            raise SampleError("not a CloudEvent: the message has no header ce-type, and its body is no object")
        found = _structured_event(event, "the message", 0, "record")
    return found if isinstance(found, Record) else None


def _request(message: tuple[dict[str, str], bytes], file: str, number: int, unit: str) -> Record | Answer:
    headers, body = message
    key, kind = identified(headers.get("ce-id")), headers["ce-type"]
    if is_answer(kind):
        return Answer(key or "")
    kept = _headers_of(headers.get("ce-metadata"), headers.get("content-type"))
    if encoding := headers.get("content-encoding"):
        kept["content-encoding"] = encoding
    return request_of(Record(file, number, body, kept, time=seconds(headers.get("ce-time")), unit=unit, id=key), kind)


def _messages(file: str, most: int) -> Iterator[tuple[int, str, tuple[dict[str, str], bytes]] | BadRecord]:
    """Yield headers and bodies of HTTP messages, one after another where each tells its length."""
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
            yield number, "record", (headers, body)


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
    found = BytesHeaderParser().parsebytes(b"".join(lines))
    return {name.lower(): str(value) for name, value in found.items()}
