"""Files that are one request body each, JSON over several lines or binary."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sources.record import BadRecord, Part, ReadOptions, Record
from kserve_warmup.samples.sources.storage import UNREADABLE, opened, whole


def sniff(_: bytes) -> bool:
    """Return True: what has no other format is tried as a body."""
    return True


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the request that the file is."""
    try:
        with opened(part.file) as stream:
            yield Record(part.file, 0, whole(stream, options.max_body))
    except SampleError as error:
        yield BadRecord(part.file, str(error))
    except UNREADABLE as error:
        yield BadRecord(part.file, f"cannot be read: {error}")
