"""JSON lines of Amazon SageMaker's Data Capture: input and output of each call, as text or base64.

Rows of CSV become v1 instances, or one typed input of v2 binary requests when the options declare one.
"""

from __future__ import annotations

import binascii
import csv
import io
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sources import documents
from kserve_warmup.samples.sources.record import BadRecord, Part, ReadOptions, Record, from_base64, recorded
from kserve_warmup.samples.sources.rows import as_request, typed
from kserve_warmup.samples.sources.times import seconds

_FIRST_KEY = re.compile(rb'\s*\[?\s*\{\s*"(?:captureData|eventMetadata|eventVersion)"\s*:')


def sniff(head: bytes) -> bool:
    """Return whether a file begins like captured data."""
    return bool(_FIRST_KEY.match(head) and b'"captureData"' in head)


def split(file: str, target: int) -> Iterator[Part]:
    """Yield parts of a file that has a record on each line; others are read whole."""
    return documents.split(file, target)


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the request of each call whose input was captured."""
    yield from documents.requests(part, partial(_request, options), options.max_line)


def _request(options: ReadOptions, line: dict[str, Any]) -> Record | None:
    captured = line.get("captureData")
    if not isinstance(captured, dict):
        raise SampleError("the line has no captureData")
    given = captured.get("endpointInput")
    if given is None and "endpointOutput" in captured:
        return None
    if not isinstance(given, dict) or not isinstance(data := given.get("data"), str):
        raise SampleError("the endpointInput has no data")
    content_type = str(given.get("observedContentType") or "").partition(";")[0].strip()
    body = _decoded(data) if given.get("encoding") == "BASE64" else data.encode()
    event = line.get("eventMetadata")
    time = seconds(event.get("inferenceTime")) if isinstance(event, dict) else None
    if given.get("encoding") == "CSV" or content_type == "text/csv":
        return _rows(body, options, time)
    return Record("", 0, body, {"content-type": content_type} if content_type else {}, time=time)


def _rows(body: bytes, options: ReadOptions, time: float | None) -> Record:
    """Return the request that carries rows of CSV: numbers as numbers, all else as text."""
    try:
        rows = [[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(body.decode())) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SampleError(f"the input is no CSV: {error}") from None
    if not rows:
        raise SampleError("the input has no rows")
    if not options.inputs:
        return Record("", 0, orjson.dumps({"instances": rows}), protocol="v1", time=time)
    if len(options.inputs) > 1:
        raise SampleError("rows of CSV are one input: give one --input, or none for v1 requests")
    (spec,) = options.inputs.values()
    try:
        array = np.array(rows).reshape(len(rows), *(spec.shape or (-1,)))
    except ValueError:
        raise SampleError(f"the rows do not have the shape {list(spec.shape)}, or differ in length") from None
    made = recorded(as_request([typed(spec.name, array, spec.datatype)]), "", 0)
    return Record("", 0, made.body, made.headers, made.path, made.protocol, time=time)


def _cell(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:  # noqa: PERF203  (two tries)
            continue
    return text


def _decoded(data: str) -> bytes:
    try:
        return from_base64(data)
    except (binascii.Error, ValueError):
        raise SampleError("the endpointInput's data is not base64") from None
