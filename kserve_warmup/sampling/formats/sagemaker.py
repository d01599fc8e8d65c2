"""JSON lines of Amazon SageMaker's Data Capture: input and output of each call, as text or base64.

Rows of CSV become v1 instances, or one typed input of v2 binary requests when the options declare one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import unbase64
from kserve_warmup.sampling.formats import documents
from kserve_warmup.sampling.formats.documents import split
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, noted, seconds
from kserve_warmup.sampling.formats.rows import made_of, typed

__all__ = ["read", "sniff", "split"]

_FIRST_KEY = re.compile(rb'\s*\[?\s*\{\s*"(?:captureData|eventMetadata|eventVersion)"\s*:')


def sniff(head: bytes) -> bool:
    """Return whether a file begins like captured data."""
    return bool(_FIRST_KEY.match(head) and b'"captureData"' in head)


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the request of each call whose input was captured."""
    yield from documents.requests(part, partial(_request, options), options.max_line)


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
    if given.get("encoding") != "CSV" and content_type != "text/csv":
        headers = {"content-type": content_type} if content_type else {}
        return Record(file, number, body, headers, time=time, unit=unit)
    return _rows(body, options, time, file, number, unit)


def _rows(body: bytes, options: ReadOptions, time: float | None, *at: Any) -> Record:
    """Return the request that carries rows of CSV: numbers as numbers, all else as text."""
    file, number, unit = at
    try:
        rows = [[_cell(cell) for cell in row] for row in csv.reader(io.StringIO(body.decode())) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise SampleError(f"the input is no CSV: {error}") from None
    if not rows:
        raise SampleError("the input has no rows")
    if not options.inputs:
        return Record(file, number, orjson.dumps({"instances": rows}), protocol="v1", time=time, unit=unit)
    if len(options.inputs) > 1:
        raise SampleError("rows of CSV are one input: give one --input, or none for v1 requests")
    (spec,) = options.inputs.values()
    try:
        array = np.array(rows).reshape(len(rows), *(spec.shape or (-1,)))
    except ValueError:
        raise SampleError(f"the rows do not have the shape {list(spec.shape)}, or differ in length") from None
    return made_of([typed(spec.name, array, spec.datatype)], file, number, unit, time)


def _cell(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:  # noqa: PERF203  (two tries)
            continue
    return text
