"""Open Inference Protocol v2 over gRPC: serialised ``ModelInferRequest`` messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kserve_warmup.errors import SampleError
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
from kserve_warmup.samples._infer_proto import model_infer_request

_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


def parse(body: bytes) -> Any:
    """Return the ``ModelInferRequest`` of ``body``, checked for what every use needs.

    Raises:
        SampleError: it is not such a message, has no inputs, or an input has no name, an unknown type or a bad shape.
    """
    from google.protobuf.message import DecodeError

    try:
        request = model_infer_request().FromString(body)
    except DecodeError:
        msg = "the body is not a serialised ModelInferRequest"
        raise SampleError(msg) from None
    names = [item.name for item in request.inputs]
    if not names or not all(names) or len(set(names)) != len(names):
        msg = "a ModelInferRequest needs inputs, each with a name of its own"
        raise SampleError(msg)
    for item in request.inputs:
        to_dtype(item.datatype)
        if len(item.shape) > MOST_DIMENSIONS or any(size < 0 for size in item.shape):
            raise SampleError(f"input {item.name!r}: the shape is a list of sizes, not {str(list(item.shape))[:200]}")
    if len(request.raw_input_contents) not in (0, len(names)):
        msg = f"there are {len(names)} inputs, but {len(request.raw_input_contents)} raw_input_contents"
        raise SampleError(msg)
    return request


def decode(body: bytes) -> Iterator[Tensor]:
    """Yield the tensors of a ``ModelInferRequest``, from raw or typed contents."""
    request = parse(body)
    for index, item in enumerate(request.inputs):
        if request.raw_input_contents:
            yield from_raw(item.name, item.datatype, list(item.shape), request.raw_input_contents[index])
        else:
            yield typed(item)


def encode(tensors: Sequence[Tensor], request_id: str | None) -> bytes:
    """Return a ``ModelInferRequest`` with raw contents and an empty ``model_name``, which the transport fills in."""
    message = model_infer_request()(id=request_id or "")
    for tensor in tensors:
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.data.shape)
        message.raw_input_contents.append(to_raw(tensor))
    return bytes(message.SerializeToString(deterministic=True))


def set_typed(item: Any, tensor: Tensor) -> None:
    """Put ``tensor``'s data into the typed contents of an input."""
    values = getattr(item.contents, _CONTENTS[tensor.datatype])
    del values[:]
    values.extend(tensor.data.ravel().tolist())


def typed(item: Any) -> Tensor:
    """Return the tensor of an input with typed contents.

    Raises:
        SampleError: the contents are not what its type and shape need.
    """
    dtype = to_dtype(item.datatype)
    field = _CONTENTS.get(item.datatype)
    if field is None:
        raise SampleError(f"input {item.name!r}: {item.datatype} is carried by raw_input_contents only")
    values = list(getattr(item.contents, field))
    try:
        if item.datatype == BYTES:
            return Tensor(item.name, BYTES, bytes_array(values, item.shape))
        if (
            dtype.kind in "iu"
            and values
            and not np.iinfo(dtype).min <= min(values) <= max(values) <= np.iinfo(dtype).max
        ):
            raise SampleError(f"an integer does not fit {dtype}")  # noqa: TRY301  (one place names the input)
        return Tensor(item.name, item.datatype, reshape(np.array(values, dtype=dtype), list(item.shape)))
    except SampleError as error:
        raise SampleError(f"input {item.name!r}: {error}") from None
