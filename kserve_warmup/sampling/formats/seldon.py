"""Seldon's own protocol (``ndarray``, ``tensor``, ``strData``, ``binData``, ``jsonData``) → KServe's v1 instances.

Rows keep their values; names of columns, which v1 has no place for, are left out.
"""

from __future__ import annotations

import math
import re
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import NotJSONError, json_bytes, json_value
from kserve_warmup.sampling.formats.record import Record

_HEAD = 1024
_FIELD = re.compile(rb'"(?:ndarray|tensor|tftensor|strData|binData|jsonData)"\s*:')


def may_be(text: bytes) -> bool:
    """Return whether JSON text has a field of the protocol near its beginning."""
    return bool(_FIELD.search(text, 0, _HEAD))


def claims(document: Any) -> bool:
    """Return whether a JSON value is a request of the protocol."""
    if not isinstance(document, dict):
        return False
    data = document.get("data")
    return (isinstance(data, dict) and any(key in data for key in ("ndarray", "tensor", "tftensor"))) or any(
        key in document for key in ("strData", "binData", "jsonData")
    )


def translated(record: Record) -> Record:
    """Return a record with its body as v1, if it is one of the protocol; others as they are.

    Raises:
        SampleError: its data has no form in v1.
    """
    if not may_be(record.body):
        return record
    try:
        document = json_value(record.body)
    except NotJSONError:
        return record
    if not claims(document):
        return record
    found = document.get("jsonData")
    if isinstance(found, dict):  # a body of whatever form the model takes
        return record._replace(body=json_bytes(found), headers={**record.headers, "content-type": "application/json"})
    return record._replace(body=json_bytes({"instances": _instances(document)}), protocol="v1", headers={})


def _instances(document: dict[str, Any]) -> list[Any]:
    if "strData" in document:
        return [document["strData"]]
    if "binData" in document:
        return [{"b64": document["binData"]}]
    if "jsonData" in document:
        found = document["jsonData"]
        return found if isinstance(found, list) else [found]
    data = document["data"]
    if "ndarray" in data:
        rows = data["ndarray"]
        if not isinstance(rows, list):
            raise SampleError("Seldon's ndarray is a list of rows")
        return rows
    if "tensor" in data:
        return _nested(data["tensor"])
    raise SampleError("the request is Seldon's tftensor, which is not read: log ndarray or tensor instead")


def _nested(tensor: Any) -> list[Any]:
    shape: Any = tensor.get("shape") if isinstance(tensor, dict) else None
    values: Any = tensor.get("values") if isinstance(tensor, dict) else None
    sized = isinstance(shape, list) and shape and all(type(size) is int and size >= 0 for size in shape)
    if not sized or not isinstance(values, list) or math.prod(shape) != len(values):
        raise SampleError("Seldon's tensor has a shape and as many values as that says: this one has not")
    for size in reversed(shape[1:]):
        values = [values[start : start + size] for start in range(0, len(values), size)] if size else []
    return list(values)
