"""The folder that perf_analyzer takes as ``--input-data``: a file for each input, named after it, with one row.

The files hold raw little-endian numbers, or a line for each element of a BYTES input. Neither tells its type, so all
inputs are declared in the options, and the format is never guessed.
"""

from __future__ import annotations

from collections.abc import Iterator

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import BYTES, Tensor, from_raw, from_values
from kserve_warmup.samples.sample import TensorSpec
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, noted
from kserve_warmup.sampling.formats.rows import made_of
from kserve_warmup.sampling.formats.storage import opened, whole


def sniff(_: bytes) -> bool:
    """Return False: raw numbers look like anything."""
    return False


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the request of the folder that the file lies in, when the file is that of the first input.

    The other inputs' files are passed over: each is read with the first one.
    """
    folder, _, name = part.file.rpartition("/")
    if not options.inputs:
        raise SampleError("raw inputs tell no types: declare each with --input, such as x:FP32[2,3]")
    if name not in options.inputs:
        raise SampleError(f"there is no input {name!r}: declare it with --input '{name}:FP32[2,3]'")
    if name == min(options.inputs):
        row = [
            _tensor(f"{folder}/{spec.name}" if folder else spec.name, spec, options.max_body)
            for spec in options.inputs.values()
        ]
        for size in options.batch_sizes:
            yield made_of([_repeated(tensor, size) for tensor in row], part.file, 0)


def _tensor(file: str, spec: TensorSpec, most: int) -> Tensor:
    with opened(file) as stream:
        content = whole(stream, most)
    if spec.datatype != BYTES:
        return from_raw(spec.name, spec.datatype, spec.shape, content)
    return from_values(spec.name, BYTES, content.splitlines(), spec.shape)


def _repeated(tensor: Tensor, size: int) -> Tensor:
    """Return ``size`` equal rows, as perf_analyzer sends them; 0: the row without a batch dimension."""
    if size == 0:
        return tensor
    return Tensor(tensor.name, tensor.datatype, tensor.data[None].repeat(size, axis=0))
