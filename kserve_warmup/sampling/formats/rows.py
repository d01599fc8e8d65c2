"""Bare tensors → requests: rows are stacked to batches and written as v2 binary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import encode
from kserve_warmup.protocols.codec import CODECS
from kserve_warmup.protocols.tensors import BYTES, Array, Tensor, bytes_array, datatype_of, to_dtype
from kserve_warmup.sampling.formats.record import Record


def made_of(tensors: list[Tensor], file: str, number: int, unit: str = "record", time: float | None = None) -> Record:
    """Return the v2 binary request that carries ``tensors``, which a source has at this place."""
    body, headers = encode("v2-binary", tensors)
    return Record(file, number, body, headers, CODECS["v2-binary"].path, "v2-binary", time=time, unit=unit)


def batches(
    columns: Mapping[str, Array], sizes: tuple[int, ...], datatypes: Mapping[str, str]
) -> Iterator[list[Tensor]]:
    """Yield the inputs of requests of each size from rows; rows left over at the end are used only by a size of 1.

    Args:
        columns: an array an input; all have the same number of rows as their leading dimension.
        sizes: rows in a request; 0 sends the arrays as they are, once.
        datatypes: Open Inference Protocol types by input; the others keep their arrays' own type.

    Raises:
        SampleError: the arrays differ in their rows or hold what no tensor can, or there are fewer rows than a size.
    """
    tensors = [typed(name, array, datatypes.get(name)) for name, array in columns.items()]
    if sizes == (0,):
        yield tensors
        return
    rows = {t.data.shape[0] if t.data.ndim else 0 for t in tensors}
    if len(rows) != 1:
        raise SampleError(f"the inputs differ in their number of rows ({sorted(rows)}): give them the same")
    (count,) = rows
    for size in sizes:
        if not 0 < size <= count:
            raise SampleError(f"a batch of {size} cannot be made of {count} rows: choose other --batch-sizes")
        for start in range(0, count - size + 1, size):
            yield [Tensor(t.name, t.datatype, t.data[start : start + size]) for t in tensors]


def typed(name: str, array: Array, datatype: str | None) -> Tensor:
    """Return an array as a tensor of ``datatype``, or of the array's own type; text becomes UTF-8.

    Raises:
        SampleError: the array's values do not fit the type.
    """
    datatype = datatype or datatype_of(array.dtype)
    if datatype == BYTES:
        values = [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
        if not all(isinstance(v, bytes) for v in values):
            raise SampleError(f"input {name!r} is not all text, as BYTES needs")
        return Tensor(name, BYTES, bytes_array(values, array.shape))
    dtype = to_dtype(datatype)
    if array.dtype.kind not in "biuf" and array.dtype != dtype:
        raise SampleError(f"input {name!r} holds {array.dtype}, which is no {datatype}")
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    if dtype.kind in "biu" and not np.array_equal(cast, array):
        raise SampleError(f"input {name!r} has values that do not fit {datatype}")
    return Tensor(name, datatype, cast)
