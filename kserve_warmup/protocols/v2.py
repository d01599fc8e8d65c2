"""Open Inference Protocol v2 over REST: JSON, and JSON followed by raw tensors (the binary tensor data extension)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import json_object, json_values, text
from kserve_warmup.protocols.tensors import (
    BYTES,
    MOST_DIMENSIONS,
    Tensor,
    bytes_array,
    from_raw,
    reshape,
    to_dtype,
    to_raw,
)

_LONG = 19
"""Digits of a number that no length has."""

LENGTH_HEADER = "inference-header-content-length"
"""Tells how many bytes of a binary body are JSON."""


def split(body: bytes, headers: Mapping[str, str]) -> tuple[dict[str, Any], memoryview]:
    """Return the JSON object that a v2 binary body begins with, and the raw bytes behind it.

    A lost :data:`LENGTH_HEADER` (KServe's logger keeps only headers that it was asked for) is recovered: the JSON
    ends where its object does, and the sizes it declares must add up to the rest.
    """
    view = memoryview(body)
    declared = headers.get(LENGTH_HEADER)
    if declared is None:
        length = _json_length(body)
    elif declared.isascii() and declared.isdigit() and len(declared) < _LONG and int(declared) <= len(body):
        length = int(declared)
    else:
        raise SampleError(f"{LENGTH_HEADER} is {declared!r}, but the body has {len(body)} bytes")
    document, raw = json_object(view[:length], "v2"), view[length:]
    if (total := sum(binary_size(i) or 0 for i in inputs(document))) != len(raw):
        msg = f"the inputs declare {total} bytes of binary data, but {len(raw)} follow the JSON"
        raise SampleError(msg)
    return document, raw


def inputs(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the inputs of a v2 request, checked for name, shape and datatype."""
    found = document.get("inputs")
    if not isinstance(found, list) or not found:
        msg = 'a v2 body has a non-empty list "inputs": this one has none'
        raise SampleError(msg)
    names = set()
    for item in found:
        name, shape = (item.get("name"), item.get("shape")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not name or name in names:
            raise SampleError(f"each v2 input needs a name of its own, not {name!r}")
        names.add(name)
        if (
            not isinstance(shape, list)
            or len(shape) > MOST_DIMENSIONS
            or any(type(d) is not int or d < 0 for d in shape)
        ):
            raise SampleError(f"input {name!r}: the shape is a list of sizes, not {str(shape)[:200]}")
        to_dtype(item.get("datatype"))
    return found


def decode(document: dict[str, Any], raw: memoryview) -> Iterator[Tensor]:
    """Yield the tensors of a v2 request; ``raw`` is what follows the JSON."""
    position = 0
    for item in inputs(document):
        name, datatype, shape = item["name"], item["datatype"], item["shape"]
        size = binary_size(item)
        if size is None:
            yield _from_json(name, datatype, shape, item.get("data"))
        else:
            yield from_raw(name, datatype, shape, raw[position : position + size])
            position += size


def encode_json(tensors: Sequence[Tensor], request_id: str | None) -> bytes:
    """Return a v2 JSON body with flat data.

    Raises:
        SampleError: BF16, NaN, infinities and BYTES that are not UTF-8 have no form in v2 JSON.
    """
    items = []
    for tensor in tensors:
        if tensor.datatype == "BF16":
            raise SampleError(f"input {tensor.name!r}: v2 JSON cannot carry BF16: use v2-binary or grpc")
        items.append(
            _head(tensor) | {"data": json_values(Tensor(tensor.name, tensor.datatype, tensor.data.ravel()), _text)}
        )
    return _document(items, request_id)


def encode_binary(tensors: Sequence[Tensor], request_id: str | None) -> tuple[bytes, int]:
    """Return a v2 body with every input in binary, and the length of its JSON."""
    raws = [to_raw(t) for t in tensors]
    items = [_head(t) | {"parameters": {"binary_data_size": len(r)}} for t, r in zip(tensors, raws, strict=True)]
    head = _document(items, request_id)
    return b"".join([head, *raws]), len(head)


def _head(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "shape": list(tensor.data.shape), "datatype": tensor.datatype}


def _document(items: list[dict[str, Any]], request_id: str | None) -> bytes:
    return orjson.dumps(({"id": request_id} if request_id is not None else {}) | {"inputs": items})


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise SampleError(f"input {name!r} has bytes that are not UTF-8, which v2 JSON cannot carry") from None


def _json_length(body: bytes) -> int:
    try:
        # Latin-1 keeps one character a byte, so that the end of the object is a byte position.
        return json.JSONDecoder().raw_decode(body.decode("latin-1"))[1]
    except (ValueError, RecursionError):
        raise SampleError(f"the body does not begin with JSON, and {LENGTH_HEADER} is missing") from None


def binary_size(item: dict[str, Any]) -> int | None:
    """Return how many bytes behind the JSON belong to an input; None when its data is in the JSON."""
    parameters = item.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is not None and (type(size) is not int or size < 0):
        raise SampleError(f"input {item['name']!r}: binary_data_size is a number of bytes, not {size!r}")
    return size


_LEAVES: dict[str, frozenset[type]] = {
    "b": frozenset([bool]),
    "i": frozenset([int]),
    "u": frozenset([int]),
    "f": frozenset([int, float]),
    "O": frozenset([str]),
}


def _from_json(name: str, datatype: str, shape: list[int], data: Any) -> Tensor:
    dtype = to_dtype(datatype)
    if datatype == "BF16":
        raise SampleError(f"input {name!r}: v2 JSON cannot carry BF16")
    if not isinstance(data, list):
        raise SampleError(f"input {name!r} has no list of data")
    values = _flat(data)
    if not set(map(type, values)) <= _LEAVES[dtype.kind]:
        raise SampleError(f"input {name!r}: the data is not all {datatype}")
    try:
        if datatype == BYTES:
            return Tensor(name, datatype, bytes_array([text(v, name) for v in values], shape))
        return Tensor(name, datatype, reshape(_numbers(values, dtype), shape))
    except (SampleError, OverflowError) as error:
        raise SampleError(f"input {name!r}: {error}") from None


def _numbers(values: list[Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if dtype.kind in "iu" and values:  # numpy before 2.0 wraps what does not fit
        limits = np.iinfo(dtype)
        if min(values) < limits.min or max(values) > limits.max:
            raise SampleError(f"an integer does not fit {dtype}")
    with np.errstate(over="ignore"):  # a server makes it infinite as well
        return np.array(values, dtype=dtype)


def _flat(data: list[Any]) -> list[Any]:
    """Return the leaves of nested lists in row-major order; flat data, the usual case, as it is."""
    for _ in range(MOST_DIMENSIONS):
        if list not in set(map(type, data)):
            return data
        data = [leaf for item in data for leaf in (item if isinstance(item, list) else [item])]
    raise SampleError(f"the data is nested deeper than {MOST_DIMENSIONS} lists")
