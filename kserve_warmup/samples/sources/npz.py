"""numpy archives: each array is an input, and its leading axis the rows; they become v2 binary requests."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.sources.record import UNREADABLE, BadRecord, ReadOptions
from kserve_warmup.samples.sources.rows import batches


def sniff(head: bytes) -> bool:
    """Return whether a file is a zip archive whose first member is a numpy array."""
    return head.startswith(b"PK\x03\x04") and b".npy" in head[:300]


def read(path: Path, options: ReadOptions) -> Iterator[Sample | BadRecord]:
    """Yield a request for each batch of rows; pickled arrays are refused."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
    except (*UNREADABLE, ValueError, zipfile.BadZipFile, KeyError, NotImplementedError) as error:
        yield BadRecord(str(path), f"not a readable numpy archive: {error}")
        return
    try:
        yield from batches(columns, options.batch_sizes, {n: spec.datatype for n, spec in options.inputs.items()})
    except SampleError as error:
        yield BadRecord(str(path), str(error))
