"""The part of TensorFlow Serving's ``PredictionLog`` that holds tensors, in a protobuf descriptor pool of its own.

Field numbers are those of tensorflow_serving/apis/{prediction_log,predict}.proto and of
tensorflow/core/framework/{tensor,tensor_shape,types}.proto. Fields that are not listed are passed over.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import BYTES, Array, Tensor, bytes_array, elements, from_raw, reshape, to_dtype
from kserve_warmup.samples.sources.record import ReadOptions

_PACKAGE = "kserve_warmup.tf"

# Message → fields: name, number, type; "*" repeats.
_MESSAGES = {
    "PredictionLog": (
        ("classify_log", 2, "bytes"),
        ("regress_log", 3, "bytes"),
        ("multi_inference_log", 4, "bytes"),
        ("session_run_log", 5, "bytes"),
        ("predict_log", 6, "PredictLog"),
        ("predict_streamed_log", 7, "bytes"),
    ),
    "PredictLog": (("request", 1, "PredictRequest"),),
    "PredictRequest": (("inputs", 2, "* Input"),),
    "Input": (("key", 1, "string"), ("value", 2, "TensorProto")),  # an entry of a map
    "TensorProto": (
        ("dtype", 1, "int32"),
        ("tensor_shape", 2, "TensorShape"),
        ("tensor_content", 4, "bytes"),
        ("float_val", 5, "* float"),
        ("double_val", 6, "* double"),
        ("int_val", 7, "* int32"),
        ("string_val", 8, "* bytes"),
        ("int64_val", 10, "* int64"),
        ("bool_val", 11, "* bool"),
        ("half_val", 13, "* int32"),
        ("uint32_val", 16, "* uint32"),
        ("uint64_val", 17, "* uint64"),
    ),
    "TensorShape": (("dim", 2, "* Dim"), ("unknown_rank", 3, "bool")),
    "Dim": (("size", 1, "int64"),),
}

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

    try:
        log = _prediction_log().FromString(data)
    except DecodeError:
        raise SampleError("the record is no PredictionLog") from None
    inputs = log.predict_log.request.inputs
    if not inputs:
        kind = next((name for name, *_ in _MESSAGES["PredictionLog"] if log.HasField(name)), "no request")
        raise SampleError(f"the record holds {kind}, and only predict_log has tensors")
    return [_tensor(item.key, item.value, options) for item in sorted(inputs, key=lambda i: i.key)]


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


@cache
def _prediction_log() -> Any:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="kserve_warmup/tf.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields:
            _add_field(message, *field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.PredictionLog"))


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind.startswith("*") else field.LABEL_OPTIONAL
    kind = kind.removeprefix("* ")
    if kind[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    if message.name == "PredictionLog":  # a oneof, of which one wants to know which is there
        field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
