"""Files with a record on each line: cut into parts at line ends, and read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

from kserve_warmup.samples.sources.record import UNFINISHED, BadRecord, Part
from kserve_warmup.samples.sources.storage import UNREADABLE, compressed, opened, size

_FIRST = 2**26
_CHUNK = 2**20


def split(file: str, target: int) -> Iterator[Part]:
    """Yield parts of about ``target`` bytes; a compressed file is one part, as it cannot be entered in the middle."""
    total = size(file)
    count = 1 if compressed(file) else max(1, round(total / target))
    bounds = [total * number // count for number in range(count + 1)]
    for start, stop in pairwise(bounds):
        yield Part(file, start, stop if stop < total else None, stop - start)


def read(part: Part) -> Iterator[tuple[int, str, bytes] | BadRecord]:
    """Yield each line that begins in the part, with its number; in the middle of a file, the byte where it begins."""
    number, position = 0, part.start
    unit = "byte" if part.start else "line"
    try:
        with opened(part.file) as stream:
            if part.start:
                stream.seek(part.start - 1)
                position += len(stream.readline()) - 1  # the line that the part before reads
            for number, (line, ended) in enumerate(_lines(stream), 1):
                if part.stop is not None and position >= part.stop:
                    return
                if record := line.strip():
                    whole = ended or record.endswith(b"}") or position == 0  # a file of one line is judged as such
                    yield (position if part.start else number), unit if whole else f"{UNFINISHED} {unit}", record
                position += len(line) + 1
    except UNREADABLE as error:
        where = position if part.start else number + 1
        yield BadRecord(part.file, f"cannot be read any further: {error}", where, unit)


def _lines(stream: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Yield the lines without their ends, and whether they had one; for long ones twice as fast as the stream's own."""
    rest = b""
    try:
        while chunk := stream.read(_CHUNK):
            text, begin = rest + chunk, 0
            while (end := text.find(b"\n", begin)) >= 0:
                yield text[begin:end], True
                begin = end + 1
            rest = text[begin:]
    except UNREADABLE:
        if rest:
            yield rest, False
        raise
    if rest:
        yield rest, False


def delimited(file: str) -> bool:
    """Return whether a file has a JSON object on its first line, rather than one over several lines or an array."""
    with opened(file) as stream:
        return stream.read(1) == b"{" and stream.readline(_FIRST).rstrip().endswith(b"}")
