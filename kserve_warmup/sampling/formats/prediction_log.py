"""The tensors in TensorFlow Serving's ``PredictionLog``."""

from __future__ import annotations

from typing import Any

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import BYTES, Array, Tensor, bytes_array, elements, from_raw, reshape, to_dtype
from kserve_warmup.sampling.formats.record import ReadOptions

# TensorFlow's DataType → type of the Open Inference Protocol, and the field of values that are not in tensor_content.
_TYPES = {
    1: ("FP32", "float_val"),
    2: ("FP64", "double_val"),
    3: ("INT32", "int_val"),
    4: ("UINT8", "int_val"),
    5: ("INT16", "int_val"),
    6: ("INT8", "int_val"),
    7: (BYTES, "string_val"),
    9: ("INT64", "int64_val"),
    10: ("BOOL", "bool_val"),
    14: ("BF16", "half_val"),
    17: ("UINT16", "int_val"),
    19: ("FP16", "half_val"),
    22: ("UINT32", "uint32_val"),
    23: ("UINT64", "uint64_val"),
}


def tensors(data: bytes, options: ReadOptions) -> list[Tensor]:
    """Return the inputs of the Predict request in a serialised ``PredictionLog``.

    Raises:
        SampleError: it is none, logs another kind of request, or has a tensor that cannot be sent.
    """
    from google.protobuf.message import DecodeError

    from kserve_warmup.protocols.generated.prediction_log_pb2 import PredictionLog

    try:
        log = PredictionLog.FromString(data)
    except DecodeError:
        raise SampleError("the record is no PredictionLog") from None
    inputs = log.predict_log.request.inputs
    if not inputs:
        kind = log.WhichOneof("log_type") or "no request"
        raise SampleError(f"the record holds {kind}, and only predict_log has tensors")
    return [_tensor(name, inputs[name], options) for name in sorted(inputs)]


def _tensor(name: str, proto: Any, options: ReadOptions) -> Tensor:
    if proto.dtype not in _TYPES:
        raise SampleError(f"input {name!r}: TensorFlow's type {proto.dtype} has no counterpart in the protocol")
    datatype, field = _TYPES[proto.dtype]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise SampleError(f"input {name!r} has no shape")
    if proto.tensor_content and datatype != BYTES:
        return from_raw(name, datatype, shape, proto.tensor_content)
    count, given = elements(name, shape), list(getattr(proto, field))
    each = 4 + len(given[-1]) if datatype == BYTES and given else to_dtype(datatype).itemsize
    options.check_claim(name, count * each)
    values = _filled(name, given, count)
    if datatype == BYTES:
        return Tensor(name, BYTES, bytes_array(values, shape))
    try:
        return Tensor(name, datatype, reshape(_numbers(values, datatype), shape))
    except (SampleError, OverflowError) as error:
        raise SampleError(f"input {name!r}: {error}") from None


def _filled(name: str, values: list[Any], count: int) -> list[Any]:
    """Return as many values as the shape needs: the last one stands for all that are left out (tensor.proto)."""
    if len(values) > count or (count and not values):
        raise SampleError(f"input {name!r}: its shape needs {count} values, but {len(values)} are there")
    return values + values[-1:] * (count - len(values))


def _numbers(values: list[Any], datatype: str) -> Array:
    if datatype in ("FP16", "BF16"):  # their bits, in integers
        return np.array(values, dtype=np.uint16).view(to_dtype(datatype))
    return np.array(values, dtype=to_dtype(datatype))
