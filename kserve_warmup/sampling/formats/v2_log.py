"""JSON logs of MLServer and Seldon: v2 requests inside of documents that say more about them.

Seldon's request logger stores ``{"request": {"payload": {…}, "ce-time": …}, "response": {…}}`` in Elasticsearch, whose
exports wrap it in ``_source``; log lines of MLServer have the request or its parts below a key of their own. The bytes
of the request are not kept: JSON is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import json_bytes
from kserve_warmup.protocols.v2 import V2Body
from kserve_warmup.sampling.formats import documents, seldon
from kserve_warmup.sampling.formats.documents import split
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, noted, seconds

__all__ = ["read", "sniff", "split"]

_PLACES = (
    ("_source", "request", "payload"),
    ("request", "payload"),
    ("request",),
    ("inference_request",),
    ("payload",),
    (),
)
_TIMES = (
    *(("_source", "request", "ce-time"), ("request", "ce-time")),
    *(("_source", "@timestamp"), ("@timestamp",), ("time",)),
)
_RESPONSES = ("response", "inference_response", "outputs")
_ANSWERS = (("response",), ("_source", "response"), ("inference_response",))
_NESTED = re.compile(rb'"(?:request|inference_request|payload)"\s*:\s*\{')
_TENSOR = re.compile(rb'"datatype"\s*:')


def sniff(head: bytes) -> bool:
    """Return whether a file begins with a document that has a v2 request inside of it."""
    return head.lstrip()[:1] in (b"{", b"[") and bool(
        _NESTED.search(head) and (_TENSOR.search(head) or seldon.may_be(head))
    )


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the requests; responses are passed over."""
    yield from documents.requests(part, _request, options)


def _request(document: dict[str, Any], file: str, number: int, unit: str) -> Record | None:
    for place in _PLACES:
        found = _at(document, place)
        if isinstance(found, dict) and V2Body.claims(found):
            made = Record(file, number, json_bytes(found), protocol="v2", time=_time(document), unit=unit)
            return _answered(made, document)
        if seldon.claims(found):
            made = Record(file, number, json_bytes(found), time=_time(document), unit=unit)
            return _answered(seldon.translated(made), document)
    inner = document.get("_source", document)
    if isinstance(inner, dict) and any(key in inner for key in _RESPONSES):
        return None
    keys = ", ".join(map(repr, list(document)[:8]))
    raise SampleError(f"there is no v2 request in the document (its keys: {keys}): no inputs with datatypes")


def _answered(record: Record, document: dict[str, Any]) -> Record:
    """Return a request with what its document tells of an answer, if others' do."""
    answered = any(isinstance(_at(document, place), dict) for place in _ANSWERS)
    return record._replace(id=f"{record.file}:{record.unit}:{record.number}", status=200 if answered else None)


def _at(document: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _time(document: dict[str, Any]) -> float | None:
    times = (seconds(_at(document, place)) for place in _TIMES)
    return next((time for time in times if time is not None), None)
