"""Blobs that KServe's inference logger stores: a JSON object for each request and response, or an array of them.

The keys are those of the Go struct ``LogRequest`` (``Bytes``, ``ReqType`` …) or, in newer versions, the same in camel
case; they are compared in lower case. Neither path nor method is recorded, and headers only when the InferenceService
lists them (``metadataHeaders``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import unbase64
from kserve_warmup.sampling.formats import documents
from kserve_warmup.sampling.formats.documents import split
from kserve_warmup.sampling.formats.encodings import plain
from kserve_warmup.sampling.formats.long_text import long_record, long_records
from kserve_warmup.sampling.formats.record import Answer, BadRecord, Part, ReadOptions, Record, noted, parsed, seconds
from kserve_warmup.sampling.formats.storage import opened

__all__ = ["is_record", "read", "recorded_headers", "request", "sniff", "split"]

_FIRST_KEY = re.compile(
    rb'\s*\[?\s*\{\s*"(?:url|bytes|contenttype|reqtype|id|sourceuri|inferenceservice|namespace)"\s*:', re.IGNORECASE
)
_CAMEL = {key.lower(): key for key in ("bytes", "reqType", "contentType", "metadata", "occurrenceTime", "id")}
_CURL = "application/x-www-form-urlencoded"
"""What curl says of a body if it is told nothing: KServe answers JSON of this type with 500, and users mean JSON."""

_OWN_KEY = re.compile(rb'"(?:bytes|reqtype)"\s*:', re.IGNORECASE)


def sniff(head: bytes) -> bool:
    """Return whether a file begins like a logger's blob."""
    return bool(_FIRST_KEY.match(head) and _OWN_KEY.search(head))


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the requests of a blob; responses are passed over."""
    yield from documents.requests(part, request, options, _parsed, _array)


def _parsed(line: bytes) -> Any:
    long = long_record(line, stop=len(line))
    return long.fields if long else parsed(line)


def _array(file: str) -> Iterator[Any]:
    """Yield the records of an array, one after the other; what is no record of the usual form is parsed whole."""
    rest: Any = b""
    with opened(file) as stream:
        for rest in long_records(stream):
            if not isinstance(rest, bytes):
                yield rest
    content = parsed(rest)
    yield from content if isinstance(content, list) else [content]


def is_record(value: Any) -> bool:
    """Return whether a JSON value is what the logger writes for a request or a response."""
    if not isinstance(value, dict):
        return False
    return ("bytes" in value and "reqType" in value) or {"bytes", "reqtype"} <= {key.lower() for key in value}


def request(record: dict[str, Any], file: str, number: int, unit: str) -> Record | Answer:
    """Return the request of a record, or that it is a response.

    Raises:
        SampleError: the record is none, or damaged.
    """
    if not is_record(record):
        raise SampleError("not a record of KServe's logger: it has no bytes and reqType")
    fields = record if "reqType" in record else {_CAMEL.get(key.lower(), key): v for key, v in record.items()}
    if str(fields["reqType"]).lower().endswith("response"):
        return Answer(str(fields.get("id") or ""))
    body = unbase64(fields["bytes"] or "", "the record's bytes are not base64")
    headers = recorded_headers(fields.get("metadata"))
    content_type = fields.get("contentType")
    if isinstance(content_type, str) and content_type:
        headers.setdefault("content-type", content_type)
    if headers.get("content-type") == _CURL and body[:1] in (b"{", b"["):
        headers["content-type"] = "application/json"
    time = seconds(fields.get("occurrenceTime"))
    made = Record(file, number, body, headers, time=time, unit=unit, id=identified(fields.get("id")))
    return plain(made) if "content-encoding" in headers else made


def identified(value: Any) -> str | None:
    """Return the id of a record, None where it has none."""
    return value if isinstance(value, str) and value else None


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
