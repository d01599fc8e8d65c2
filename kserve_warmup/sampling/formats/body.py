"""Files that are one request body each, JSON over several lines or binary."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, noted
from kserve_warmup.sampling.formats.storage import opened, whole


def sniff(_: bytes) -> bool:
    """Return True: what has no other format is tried as a body."""
    return True


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the request that the file is."""
    with opened(part.file) as stream:
        yield Record(part.file, 0, whole(stream, options.max_body))
