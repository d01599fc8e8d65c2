"""JSON lines of Amazon SageMaker's Data Capture: input and output of each call, as text or base64.

Rows of CSV become v1 instances, or one typed input of v2 binary requests when the options declare one. JSON lines and
arrays become v1 instances too, as SageMaker's own TensorFlow container makes them; other JSON stays as it is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import json_bytes, json_value, unbase64
from kserve_warmup.protocols.tensors import BYTES
from kserve_warmup.sampling.formats import cells, documents
from kserve_warmup.sampling.formats.documents import split
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, noted, seconds
from kserve_warmup.sampling.formats.rows import made_of, typed

__all__ = ["read", "sniff", "split"]

_LINES = ("application/jsonlines", "application/json-lines", "application/x-ndjson", "application/x-jsonlines")

_FIRST_KEY = re.compile(rb'\s*\[?\s*\{\s*"(?:captureData|eventMetadata|eventVersion)"\s*:')


def sniff(head: bytes) -> bool:
    """Return whether a file begins like captured data."""
    return bool(_FIRST_KEY.match(head) and b'"captureData"' in head)


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the request of each call whose input was captured."""
    yield from documents.requests(part, partial(_request, options), options)


def _request(options: ReadOptions, line: dict[str, Any], file: str, number: int, unit: str) -> Record | None:
    captured = line.get("captureData")
    if not isinstance(captured, dict):
        raise SampleError("the line has no captureData")
    given = captured.get("endpointInput")
    if given is None and "endpointOutput" in captured:
        return None
    if not isinstance(given, dict) or not isinstance(data := given.get("data"), str):
        raise SampleError("the endpointInput has no data")
    content_type = str(given.get("observedContentType") or "").partition(";")[0].strip()
    encoded = given.get("encoding") == "BASE64"
    body = unbase64(data, "the endpointInput's data is not base64") if encoded else data.encode()
    event = line.get("eventMetadata")
    time = seconds(event.get("inferenceTime")) if isinstance(event, dict) else None
    record = _made(body, content_type, given.get("encoding") == "CSV", options, time, file, number, unit)
    answered = isinstance(captured.get("endpointOutput"), dict)
    return record._replace(id=f"{file}:{unit}:{number}", status=200 if answered else None)


def _made(body: bytes, content_type: str, is_csv: bool, options: ReadOptions, time: float | None, *at: Any) -> Record:
    """Return the request that an input is."""
    file, number, unit = at
    if is_csv or content_type == "text/csv":
        return _rows(body, options, time, file, number, unit)
    if content_type in _LINES or body.lstrip()[:1] == b"[":
        instances = _instances(body, lines=content_type in _LINES)
        return Record(file, number, json_bytes({"instances": instances}), protocol="v1", time=time, unit=unit)
    headers = {"content-type": content_type} if content_type else {}
    return Record(file, number, body, headers, time=time, unit=unit)


def _instances(body: bytes, *, lines: bool) -> list[Any]:
    """Return the rows that JSON lines or an array hold."""
    if not lines:
        found = json_value(body, "the input is ")
        return found if isinstance(found, list) else [found]
    rows = [json_value(line, "a line of the input is ") for line in body.splitlines() if line.strip()]
    if not rows:
        raise SampleError("the input has no rows")
    return rows


def _rows(body: bytes, options: ReadOptions, time: float | None, *at: Any) -> Record:
    """Return the request that carries rows of CSV: numbers as numbers, all else as text."""
    file, number, unit = at
    try:
        rows = [row for row in csv.reader(io.StringIO(body.decode())) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SampleError(f"the input is no CSV: {error}") from None
    if not rows:
        raise SampleError("the input has no rows")
    if not options.inputs:
        instances = [[cells.value(cell) for cell in row] for row in rows]
        return Record(file, number, json_bytes({"instances": instances}), protocol="v1", time=time, unit=unit)
    if len(options.inputs) > 1:
        raise SampleError("rows of CSV are one input: give one --input, or none for v1 requests")
    (spec,) = options.inputs.values()
    try:
        array = np.array([[_typed(cell, spec.datatype) for cell in row] for row in rows])
        array = array.reshape(len(rows), *(spec.shape or (-1,)))
    except ValueError:
        raise SampleError(f"the rows do not have the shape {list(spec.shape)}, or differ in length") from None
    return made_of([typed(spec.name, array, spec.datatype)], file, number, unit, time)


def _typed(cell: str, datatype: str) -> float | str:
    """Return a cell as a number where its input has numbers, NaN and infinity among them; text stays as it is."""
    if datatype == BYTES:
        return cell
    try:
        return cells.real(cell) if datatype.startswith(("FP", "BF")) else cells.value(cell)
    except ValueError:
        return cell
