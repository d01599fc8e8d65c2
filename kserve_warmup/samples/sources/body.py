"""Files that are one request body each, JSON over several lines or binary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.sources.record import UNREADABLE, BadRecord, ReadOptions, opened
from kserve_warmup.samples.wire import detect, request


def sniff(_: bytes) -> bool:
    """Return True: what has no other format is tried as a body."""
    return True


def read(path: Path, _: ReadOptions) -> Iterator[Sample | BadRecord]:
    """Yield the request that the file is."""
    try:
        with opened(path) as stream:
            body = stream.read()
        yield request(detect(body), body)
    except SampleError as error:
        yield BadRecord(str(path), str(error))
    except UNREADABLE as error:
        yield BadRecord(str(path), f"cannot be read: {error}")
