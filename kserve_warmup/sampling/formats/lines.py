"""Files with a record on each line: cut into parts at line ends, and read part by part."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

from kserve_warmup.sampling.formats.record import UNFINISHED, BadRecord, Part
from kserve_warmup.sampling.formats.storage import UNREADABLE, compressed, opened, size

_CHUNK = 2**20


def split(file: str, target: int) -> Iterator[Part]:
    """Yield parts of about ``target`` bytes; a compressed file is one part, as it cannot be entered in the middle."""
    total = size(file)
    count = 1 if compressed(file) else max(1, round(total / target))
    bounds = [total * number // count for number in range(count + 1)]
    for start, stop in pairwise(bounds):
        yield Part(file, start, stop if stop < total else None, stop - start)


def read(part: Part, most: int) -> Iterator[tuple[int, str, bytes] | BadRecord]:
    """Yield each line that begins in the part, with its number; in the middle of a file, the byte where it begins.

    A line of more than ``most`` bytes is a bad record; it is passed over without being held.
    """
    number, position = 0, part.start
    unit = "byte" if part.start else "line"
    try:
        with opened(part.file) as stream:
            if part.start:
                stream.seek(part.start - 1)
                position += _rest_of_line(stream) - 1  # the line that the part before reads
            for number, (line, ended, length) in enumerate(_lines(stream, most), 1):
                if part.stop is not None and position >= part.stop:
                    return
                if length > most:
                    reason = f"the record is longer than {most:,} bytes, which --max-body leaves room for"
                    yield BadRecord(part.file, reason, position if part.start else number, unit)
                elif record := line.strip():
                    whole = ended or record.endswith(b"}") or position == 0  # a file of one line is judged as such
                    yield (position if part.start else number), unit if whole else f"{UNFINISHED} {unit}", record
                position += length + 1
    except UNREADABLE as error:
        where = position if part.start else number + 1
        yield BadRecord(part.file, f"cannot be read any further: {error}", where, unit)


def _lines(stream: BinaryIO, most: int) -> Iterator[tuple[bytes, bool, int]]:
    """Yield the lines without their ends, whether they had one, and their lengths; of a line beyond ``most``, nothing.

    For long lines that is twice as fast as the stream's own, and each byte is searched once.
    """
    begun: list[bytes] = []
    length = 0
    try:
        while chunk := stream.read(_CHUNK):
            begin = 0
            while (end := chunk.find(b"\n", begin)) >= 0:
                length += end - begin
                if begun:
                    line = b"" if length > most else b"".join((*begun, chunk[begin:end]))
                    begun = []  # before it is read: a long line is not held twice
                    yield line, True, length
                else:
                    yield chunk[begin:end], True, length
                begin, length = end + 1, 0
            if begin < len(chunk):
                length += len(chunk) - begin
                begun = [b""] if length > most else [*begun, chunk[begin:]]
    except UNREADABLE:
        if begun:
            yield b"".join(begun), False, length
        raise
    if begun:
        yield b"".join(begun), False, length


def _rest_of_line(stream: BinaryIO) -> int:
    """Pass over what is left of a line, and return how many bytes that was, its end included."""
    passed = 0
    while part := stream.readline(_CHUNK):
        passed += len(part)
        if part.endswith(b"\n"):
            break
    return passed
