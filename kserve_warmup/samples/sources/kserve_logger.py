"""Blobs that KServe's inference logger stores: a JSON object for each request and response, or an array of them.

The keys are those of the Go struct ``LogRequest`` (``Bytes``, ``ReqType`` …) or, in newer versions, the same in camel
case; they are compared in lower case. Neither path nor method is recorded, and headers only when the InferenceService
lists them (``metadataHeaders``).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.sources.record import BadRecord, ReadOptions, load_json
from kserve_warmup.samples.wire import detect, request

_FIRST_KEY = re.compile(
    rb'\s*\[?\s*\{\s*"(?:url|bytes|contenttype|reqtype|id|sourceuri|inferenceservice|namespace)"\s*:', re.IGNORECASE
)
_OWN_KEY = re.compile(rb'"(?:bytes|reqtype)"\s*:', re.IGNORECASE)


def sniff(head: bytes) -> bool:
    """Return whether a file begins like a logger's blob."""
    return bool(_FIRST_KEY.match(head) and _OWN_KEY.search(head))


def read(path: Path, _: ReadOptions) -> Iterator[Sample | BadRecord]:
    """Yield the requests of a blob; responses are passed over."""
    try:
        content = load_json(path)
    except SampleError as error:
        yield BadRecord(str(path), str(error))
        return
    for number, record in enumerate(content if isinstance(content, list) else [content], 1):
        try:
            if not is_record(record):
                msg = "not a record of KServe's logger: it has no bytes and reqType"
                raise SampleError(msg)  # noqa: TRY301  (told apart from the others only here)
            yield from requests(record)
        except SampleError as error:  # noqa: PERF203  (one bad record must not hide the others)
            yield BadRecord(f"{path}: record {number}", str(error))


def is_record(value: Any) -> bool:
    """Return whether a JSON value is what the logger writes for a request or a response."""
    return isinstance(value, dict) and {"bytes", "reqtype"} <= {key.lower() for key in value}


def requests(record: dict[str, Any]) -> Iterator[Sample]:
    """Yield the request of a record, or nothing for a response.

    Raises:
        SampleError: the record is damaged, or its body is no request.
    """
    fields = {key.lower(): value for key, value in record.items()}
    if str(fields["reqtype"]).lower().endswith("response"):
        return
    try:
        body = base64.b64decode(fields["bytes"] or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        msg = "the record's bytes are not base64"
        raise SampleError(msg) from None
    headers = _headers(fields.get("metadata"))
    content_type = fields.get("contenttype")
    if isinstance(content_type, str) and content_type:
        headers.setdefault("content-type", content_type)
    protocol = detect(body, headers)
    if protocol == "v2-binary" and headers.get("content-type", "").startswith("application/json"):
        # KServe answers a binary body of this type with 400, so it was not sent like this: the logger's default.
        del headers["content-type"]
    yield request(protocol, body, headers=headers)


def _headers(metadata: Any) -> dict[str, str]:
    """Return the headers in ``metadata``, a JSON object, or its text, of lists of values."""
    if isinstance(metadata, str):
        try:
            metadata = orjson.loads(metadata or b"{}")
        except orjson.JSONDecodeError:
            metadata = {}
    if not isinstance(metadata, dict):
        return {}
    pairs = (
        (name.lower(), value[0] if isinstance(value, list) and value else value) for name, value in metadata.items()
    )
    return {name: value for name, value in pairs if isinstance(value, str)}
