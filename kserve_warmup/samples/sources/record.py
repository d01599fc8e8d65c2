"""What every source yields and is given, and how files are opened."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import TensorSpec

GZIP = b"\x1f\x8b"

UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a missing, truncated or corrupt file raises."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that is no usable request: where it stands (file and position) and why it was skipped."""

    where: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a format that holds bare tensors does not tell.

    Attributes:
        batch_sizes: how many rows go into a request; each size goes through all rows. 0: tensors have no batch
            dimension and are sent as they are.
        inputs: datatype and shape (of one row) by input name.
    """

    batch_sizes: tuple[int, ...] = (1,)
    inputs: Mapping[str, TensorSpec] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse sizes that no request can have."""
        if not self.batch_sizes or min(self.batch_sizes) < 0:
            raise SampleError(
                f"batch sizes {list(self.batch_sizes)}: give sizes from 1 on, or 0 for no batch dimension"
            )


def load_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        SampleError: It cannot be read, or is not JSON.
    """
    try:
        with opened(path) as stream:
            return orjson.loads(stream.read())
    except orjson.JSONDecodeError as error:
        raise SampleError(f"not JSON: {error}") from error
    except UNREADABLE as error:
        raise SampleError(f"cannot be read: {error}") from error


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading; a gzip-compressed one is decompressed, whatever its name."""
    with path.open("rb") as raw:
        compressed = raw.read(2) == GZIP
        raw.seek(0)
        if not compressed:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as stream:
            yield cast("BinaryIO", stream)
