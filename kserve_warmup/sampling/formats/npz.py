"""numpy archives: each array is an input, and its leading axis the rows; they become v2 binary requests."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import elements
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, noted
from kserve_warmup.sampling.formats.rows import batches, made_of
from kserve_warmup.sampling.formats.storage import MOST_WHOLE, UNREADABLE, opened


def sniff(head: bytes) -> bool:
    """Return whether a file is a zip archive whose first member is a numpy array."""
    return head.startswith(b"PK\x03\x04") and b".npy" in head[:300]


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield a request for each batch of rows; pickled arrays are refused."""
    try:
        with opened(part.file) as stream, np.load(stream, allow_pickle=False) as archive:
            _check_claims(archive.zip)
            columns = {name: archive[name] for name in archive.files}
    except (*UNREADABLE, ValueError, zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        raise SampleError(f"not a readable numpy archive: {error}") from None
    datatypes = {n: spec.datatype for n, spec in options.inputs.items()}
    for number, tensors in enumerate(batches(columns, options.batch_sizes, datatypes), 1):
        yield made_of(tensors, part.file, number, "request")


def _check_claims(archive: zipfile.ZipFile) -> None:
    """Refuse arrays that are too large, or larger than the bytes that are there for them: numpy takes the memory first.

    Raises:
        SampleError: there is one.
    """
    members = archive.infolist()
    if (total := sum(member.file_size for member in members)) > MOST_WHOLE:
        raise SampleError(f"its arrays have {total:,} bytes together, more than {MOST_WHOLE:,}: split it")
    for member in members:
        with archive.open(member) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in _HEADERS:
                continue  # numpy itself refuses it
            shape, _, dtype = _HEADERS[version](stream)
            claimed = elements(member.filename, shape) * dtype.itemsize
            if not dtype.hasobject and claimed > member.file_size:
                msg = f"array {member.filename!r} claims {claimed:,} bytes, but has {member.file_size:,}"
                raise SampleError(msg)


_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
