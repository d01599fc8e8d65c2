"""Open Inference Protocol types, their numpy equivalents, and tensors as raw little-endian bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kserve_warmup.errors import SampleError
from kserve_warmup.extras import optional
from kserve_warmup.samples.sample import DATATYPES

Array = npt.NDArray[Any]

BYTES = "BYTES"

_OTHERS = {"BOOL": "?", "FP16": "f2", "FP32": "f4", "FP64": "f8", BYTES: "O"}
"""Types whose names in numpy are not the same in small letters."""

_KNOWN = frozenset(DATATYPES)
_LENGTH = struct.Struct("<I")


def check_datatype(datatype: Any) -> None:
    """Refuse what is no Open Inference Protocol type; nothing is imported for it.

    Raises:
        SampleError: the protocol has no such type.
    """
    if not isinstance(datatype, str) or datatype not in _KNOWN:
        raise SampleError(f"unknown datatype {datatype!r}: use one of {', '.join(DATATYPES)}")


def element_size(datatype: str) -> int | None:
    """Return the bytes that one element takes in raw form; None for ``BYTES``, whose elements differ in length."""
    check_datatype(datatype)
    bits = datatype.lstrip("BFINPTU")
    return int(bits) // 8 if bits.isdigit() else {"BOOL": 1}.get(datatype)


def to_dtype(datatype: str) -> np.dtype[Any]:
    """Return the numpy dtype that holds an Open Inference Protocol type; ``BYTES`` are objects of type ``bytes``.

    Raises:
        SampleError: the protocol has no such type.
        MissingPackageError: it is BF16, which is not numpy's own.
    """
    check_datatype(datatype)
    if datatype != "BF16":
        dtype: np.dtype[Any] = np.dtype(_OTHERS.get(datatype, datatype.lower()))
        return dtype
    bfloat16: np.dtype[Any] = np.dtype(optional("ml_dtypes", "BF16 tensors need").bfloat16)
    return bfloat16


def datatype_of(dtype: npt.DTypeLike) -> str:
    """Return the Open Inference Protocol type of a numpy dtype; text and bytes dtypes are ``BYTES``.

    Raises:
        SampleError: no type of the protocol can hold it, such as complex numbers or dates.
    """
    native = np.dtype(dtype).newbyteorder("=")
    if native.kind in "SUO":
        return BYTES
    if native.name == "bfloat16":
        return "BF16"
    found = next((name for name in DATATYPES if name != "BF16" and to_dtype(name) == native), None)
    if found is None:
        raise SampleError(
            f"numpy type {native} has no Open Inference Protocol type: convert it to a number or text first"
        )
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One input of a request.

    ``datatype`` is an Open Inference Protocol type and ``data`` an array of the dtype that :func:`to_dtype` tells, with
    the full shape that is on the wire, batch included. The elements of a ``BYTES`` tensor are ``bytes``.
    """

    name: str
    datatype: str
    data: Array

    def __post_init__(self) -> None:
        """Refuse data that is not what ``datatype`` says."""
        expected = to_dtype(self.datatype)
        if self.data.dtype != expected:
            raise SampleError(
                f"input {self.name!r}: {self.datatype} needs a numpy array of {expected}, not {self.data.dtype}"
            )


def bytes_array(values: Sequence[bytes], shape: Sequence[int]) -> Array:
    """Return ``values`` as a ``BYTES`` array of ``shape``."""
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return reshape(array, shape)


MOST_DIMENSIONS = 64
"""numpy has no arrays with more."""

_MOST_ELEMENTS = 1 << 62


def elements(name: str, shape: Sequence[int]) -> int:
    """Return how many elements a shape claims; nothing is taken for them.

    Raises:
        SampleError: no array can have this shape, however much memory there is.
    """
    if len(shape) > MOST_DIMENSIONS:
        raise SampleError(f"input {name!r}: its shape has {len(shape)} dimensions, more than {MOST_DIMENSIONS}")
    count = math.prod(shape)
    if count > _MOST_ELEMENTS or (shape and min(shape) < 0):
        raise SampleError(f"input {name!r}: its shape {str(list(shape))[:200]} is beyond what an array can have")
    return count


def reshape(array: Array, shape: Sequence[int]) -> Array:
    """Return ``array`` in ``shape``; the element count must fit.

    Raises:
        SampleError: it does not, or numpy cannot hold so many dimensions.
    """
    if len(shape) > MOST_DIMENSIONS:
        raise SampleError(f"the shape has {len(shape)} dimensions, more than {MOST_DIMENSIONS}")
    if (count := math.prod(shape)) != array.size:
        raise SampleError(f"shape {list(shape)} needs {count} elements, but there are {array.size}")
    try:
        return array.reshape(tuple(shape))
    except (ValueError, OverflowError):
        raise SampleError(f"shape {list(shape)} is beyond what an array can have") from None


def from_values(name: str, datatype: str, values: list[Any], shape: Sequence[int]) -> Tensor:
    """Return the tensor of a shape with these elements in row-major order: ``bytes``, or numbers.

    Raises:
        SampleError: they are too many or too few, or an integer does not fit the type: numpy before 2.0 wraps it.
    """
    try:
        if datatype == BYTES:
            return Tensor(name, datatype, bytes_array(values, shape))
        dtype = to_dtype(datatype)
        if dtype.kind in "iu" and values:
            limits = np.iinfo(dtype)
            if min(values) < limits.min or max(values) > limits.max:
                raise SampleError(f"an integer does not fit {dtype}")  # noqa: TRY301  (one place names the input)
        with np.errstate(over="ignore"):  # a server makes it infinite as well
            return Tensor(name, datatype, reshape(np.array(values, dtype=dtype), shape))
    except (SampleError, OverflowError) as error:
        raise SampleError(f"input {name!r}: {error}") from None


def to_raw(tensor: Tensor) -> bytes:
    """Return a tensor's elements in row-major order, little-endian; each ``BYTES`` element follows its u32 length.

    This is the layout of v2 binary data, gRPC ``raw_input_contents`` and Triton's ``input_data_file``.
    """
    if tensor.datatype != BYTES:
        data = tensor.data
        return (data if data.dtype.isbuiltin != 1 else data.astype(data.dtype.newbyteorder("<"), copy=False)).tobytes()
    parts: list[bytes] = []
    for element in tensor.data.flat:
        if not isinstance(element, bytes):
            raise SampleError(f"input {tensor.name!r}: BYTES elements must be bytes, not {type(element).__name__}")
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes | memoryview) -> Tensor:
    """Return the tensor that :func:`to_raw` wrote; its array may be read-only and share memory with ``raw``.

    Raises:
        SampleError: an unknown type, or ``raw`` is longer or shorter than ``shape`` needs.
    """
    dtype = to_dtype(datatype)
    count = elements(name, shape)
    if datatype == BYTES:
        return Tensor(name, datatype, bytes_array(_split_bytes(name, count, memoryview(raw)), shape))
    if len(raw) != (needed := count * dtype.itemsize):
        msg = f"input {name!r}: {datatype} {list(shape)} needs {needed} bytes, but there are {len(raw)}"
        raise SampleError(msg)
    if datatype == "BOOL":  # servers take any byte but 0 as true; numpy would keep it as an invalid bool
        return Tensor(name, datatype, reshape(np.frombuffer(raw, np.uint8) != 0, shape))
    wire = dtype if dtype.isbuiltin != 1 else dtype.newbyteorder("<")
    return Tensor(name, datatype, reshape(np.frombuffer(raw, wire).astype(dtype, copy=False), shape))


def _split_bytes(name: str, count: int, raw: memoryview) -> list[bytes]:
    values: list[bytes] = []
    position = 0
    while position < len(raw) and len(values) <= count:
        start = position + _LENGTH.size
        if start > len(raw):
            break
        position = start + _LENGTH.unpack_from(raw, position)[0]
        values.append(bytes(raw[start:position]))
    if position != len(raw) or len(values) != count:
        msg = f"input {name!r}: {len(raw)} bytes are not {count} BYTES elements, each a u32 length and its bytes"
        raise SampleError(msg)
    return values
