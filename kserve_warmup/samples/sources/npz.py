"""numpy archives: each array is an input, and its leading axis the rows; they become v2 binary requests."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sources.record import BadRecord, Part, ReadOptions, Record, recorded
from kserve_warmup.samples.sources.rows import batches
from kserve_warmup.samples.sources.storage import UNREADABLE, opened


def sniff(head: bytes) -> bool:
    """Return whether a file is a zip archive whose first member is a numpy array."""
    return head.startswith(b"PK\x03\x04") and b".npy" in head[:300]


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield a request for each batch of rows; pickled arrays are refused."""
    try:
        with opened(part.file) as stream, np.load(stream, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    except (*UNREADABLE, ValueError, zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        yield BadRecord(part.file, f"not a readable numpy archive: {error}")
        return
    try:
        datatypes = {n: spec.datatype for n, spec in options.inputs.items()}
        for number, sample in enumerate(batches(columns, options.batch_sizes, datatypes), 1):
            yield recorded(sample, part.file, number, "request")
    except SampleError as error:
        yield BadRecord(part.file, str(error))
