"""What every source yields and is given, and how files are opened.

A source is a module with three functions. ``sniff(head)`` tells whether a file that begins with ``head`` is of its
format. ``read(part, options)`` yields a :class:`Record` for each request and a :class:`BadRecord` for what is none; it
decodes no body but for base64. ``split(file, target)`` cuts a file into parts of about ``target`` bytes that can be
read independently, in several processes; a module without it has its files read whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import json_value
from kserve_warmup.samples.sample import Protocol, Sample, TensorSpec
from kserve_warmup.sampling.formats.storage import UNREADABLE, opened, size, whole


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a file that can be read without the rest.

    Attributes:
        file: path of the file.
        start: where the piece begins, in the format's own measure (bytes for lines, row groups for Parquet). The
            pieces of a file follow on one another.
        stop: where it ends, exclusive; None: at the end of the file.
        size: its bytes, for progress.
    """

    file: str
    start: int = 0
    stop: int | None = None
    size: int = 0

    @classmethod
    def whole(cls, file: str | Path) -> Part:
        """Return a file as one part."""
        return cls(str(file), size=size(str(file)))


MAX_BODY = 1 << 28
"""256 MiB."""

UNFINISHED = "unfinished"
"""Unit of what a process that was killed, or that is still writing, leaves at the end of a file."""


# A tuple, not a frozen dataclass: one is made for each request of the traffic, in a third of the time.
class Record(NamedTuple):
    """A request as it was recorded; nothing of its body is decoded yet.

    Attributes:
        file: where it stands.
        number: its number in the part that was read, from 1; 0 when the file is one record.
        body: the request's body, byte for byte.
        headers: as recorded, in any case.
        path: where it was sent; None: not recorded.
        protocol: how the body is encoded; None: to be told by content.
        status: the answer's HTTP status; None: not recorded.
        time: when it was sent, in seconds since 1970 (UTC); None: not recorded.
        unit: what ``number`` counts.
        id: what its answer's record has, too; None: not recorded.
    """

    file: str
    number: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})
    path: str | None = None
    protocol: Protocol | None = None
    status: int | None = None
    time: float | None = None
    unit: str = "record"
    id: str | None = None

    def bad(self, reason: str) -> BadRecord:
        """Return the note that the record is unusable."""
        return BadRecord(self.file, reason, self.number, self.unit)


class BadRecord(NamedTuple):
    """A record that is no usable request: where it stands (file and number in its part) and why it was skipped."""

    file: str
    reason: str
    number: int = 0
    unit: str = "record"

    @property
    def unfinished(self) -> bool:
        """Return whether it was being written when its process ended, which is no fault of the traffic."""
        return self.unit.startswith(UNFINISHED)

    @property
    def where(self) -> str:
        """Return file and position, for people."""
        if not self.number:
            return self.file
        return f"{self.file}:{self.number}" if self.unit.endswith("line") else f"{self.file}: {self.unit} {self.number}"


class Answer(NamedTuple):
    """That the request with this id was answered with success; only who asks for answers is told."""

    id: str


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a format that holds bare tensors does not tell.

    Attributes:
        batch_sizes: how many rows go into a request; each size goes through all rows. 0: tensors have no batch
            dimension and are sent as they are.
        inputs: datatype and shape (of one row) by input name.
        columns: the columns of a table that make an input, by input name; empty: each column is an input.
        model: whose requests are meant, where a file holds those of several models.
        path: where a server with an API of its own took them; those of other paths are not meant. None: it has none.
        max_body: bytes of a request's body above which it is left out.
        answers: whether answers are told beside the requests (see ``answers``).
    """

    batch_sizes: tuple[int, ...] = (1,)
    inputs: Mapping[str, TensorSpec] = field(default_factory=dict)
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    model: str | None = None
    path: str | None = None
    max_body: int = MAX_BODY
    answers: bool = False

    @property
    def max_line(self) -> int:
        """Return the bytes that a record of text may have: base64 and JSON's escapes make a body longer."""
        return 2 * self.max_body + 2**20

    def check_claim(self, name: str, size: int) -> None:
        """Refuse an input whose shape claims more than a body may have, before memory is taken for it.

        Raises:
            SampleError: it does.
        """
        if size > self.max_body:
            raise SampleError(f"input {name!r}: its shape claims {size:,} bytes, more than --max-body {self.max_body}")

    def __post_init__(self) -> None:
        """Refuse sizes that no request can have."""
        if not self.batch_sizes or min(self.batch_sizes) < 0:
            raise SampleError(
                f"batch sizes {list(self.batch_sizes)}: give sizes from 1 on, or 0 for no batch dimension"
            )


def recorded(sample: Sample, file: str, number: int, unit: str = "record") -> Record:
    """Return the record of a request that is a sample already."""
    return Record(file, number, sample.body, sample.headers, sample.path, sample.protocol, unit=unit)


def parsed(text: bytes) -> Any:
    """Return what JSON text holds; NaN and infinity too, which Python's loggers write.

    Raises:
        SampleError: it is not JSON.
    """
    return json_value(text, "")


def load_json(file: str) -> Any:
    """Return what a JSON file holds; it is read whole, and what it cannot be read for is raised."""
    with opened(file) as stream:
        return parsed(whole(stream))


Read = Callable[[Part, ReadOptions], Iterator[Record | BadRecord]]


def noted(read: Read) -> Read:
    """Make a source's ``read`` end with a bad record where the file is unusable or cannot be read."""

    @wraps(read)
    def reading(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
        try:
            yield from read(part, options)
        except SampleError as error:
            yield BadRecord(part.file, str(error))
        except UNREADABLE as error:
            yield BadRecord(part.file, f"cannot be read: {error}")

    return reading


Convert = Callable[[Any, str, int, str], Record | Answer | None]
"""Makes a request of a value that stands at file, number and unit; None of one that is neither request nor answer."""


def converted(
    items: Iterable[tuple[int, str, Any] | BadRecord], convert: Convert, file: str, *, answers: bool = False
) -> Iterator[Record | BadRecord]:
    """Yield what ``convert`` makes of each value, told with number and unit, and a note of each that it refuses.

    Answers are among them only if they are asked for, of which the type says nothing: few ask.
    """
    for item in items:
        if isinstance(item, BadRecord):
            yield item
            continue
        number, unit, value = item
        try:
            record = convert(value, file, number, unit)
        except SampleError as error:
            yield BadRecord(file, str(error), number, unit)
            continue
        if record is not None and (answers or not isinstance(record, Answer)):
            yield record  # type: ignore[misc]


_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<time>\d\d:\d\d:\d\d)(?P<fraction>\.\d+)?(?P<zone>Z|[+-]\d\d:\d\d)?"
)


def seconds(text: Any) -> float | None:
    """Return an RFC 3339 time as seconds since 1970; without a zone it is UTC. None for anything else."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if not match:
        return None
    zone = (match["zone"] or "Z").replace("Z", "+00:00")
    try:
        full = datetime.fromisoformat(f"{match['date']}T{match['time']}{zone}").timestamp()
    except ValueError:
        return None
    return full + float(match["fraction"] or 0)  # Go writes nine digits
