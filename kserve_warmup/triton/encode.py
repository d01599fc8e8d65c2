"""One row of a real request as the bytes that Triton reads from an ``input_data_file``."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

import numpy as np

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.tensors import Array, Tensor, to_dtype, to_raw
from kserve_warmup.triton.rules import SIZES, STRING, data_type

FLOATS = ("TYPE_FP16", "TYPE_BF16", "TYPE_FP32", "TYPE_FP64")

OWN_FILE = re.compile(r"kserve-warmup-[0-9a-f]{32}\.bin")
"""The names of the data files that the generator owns: safe in any path, and equal for equal content."""


@dataclass(frozen=True, slots=True, order=True)
class BoundInput:
    """An input of a recorded request, bound to an input of the model.

    ``source`` is its name in the request and ``name`` in the model. ``dims`` are what the block says: without the batch
    for a batching model, the full shape for another. ``untyped`` data comes from JSON without declared types.
    """

    name: str
    source: str
    data_type: str
    dims: tuple[int, ...]
    untyped: bool = False


def encode_row(tensor: Tensor, bound: BoundInput, *, batching: bool) -> bytes:
    """Return the bytes of ``bound`` from a request's tensor: its first row if ``batching``, else all of it.

    Row-major and little-endian; each string follows its length as a little-endian u32.

    Raises:
        TritonConfigError: The values do not fit the model's type exactly, or the size is not what ``bound.dims`` needs.
    """
    row = tensor.data[:1] if batching else tensor.data
    if data_type(tensor.datatype) != bound.data_type:
        row = _cast(row, bound)
    if row.size != math.prod(bound.dims):
        raise TritonConfigError(f"input {bound.source!r}: {row.size} elements do not fill dims {list(bound.dims)}")
    datatype = "BYTES" if bound.data_type == STRING else bound.data_type.removeprefix("TYPE_")
    raw = to_raw(Tensor(bound.source, datatype, row))
    if bound.data_type != STRING and len(raw) != row.size * SIZES[bound.data_type]:
        raise TritonConfigError(f"input {bound.source!r}: {len(raw)} bytes are not {row.size} of {bound.data_type}")
    return raw


def _cast(row: Array, bound: BoundInput) -> Array:
    """Give JSON's numbers the model's type: integers exactly, fractions rounded as every JSON client rounds them."""
    target = None if bound.data_type == STRING else to_dtype(bound.data_type.removeprefix("TYPE_"))
    if not bound.untyped or target is None or row.dtype.hasobject:
        raise TritonConfigError(f"input {bound.source!r}: {row.dtype} is not {bound.data_type}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = row.astype(target)
        if row.dtype.kind == "f" and bound.data_type in FLOATS:
            same = np.isfinite(cast) == np.isfinite(row)
        else:  # a sign tells -1 from the largest unsigned number, which is cast back to -1
            same = (cast.astype(row.dtype) == row) & ((cast < 0) == (row < 0))
    if not same.all():
        msg = (
            f"input {bound.source!r}: its JSON numbers do not fit {bound.data_type} exactly; record v2 requests instead"
        )
        raise TritonConfigError(msg)
    return cast


def file_name(data: bytes) -> str:
    """Return the name of the data file with this content."""
    return f"kserve-warmup-{hashlib.blake2b(data, digest_size=16).hexdigest()}.bin"
