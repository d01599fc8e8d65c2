"""Read parts of traffic to a digest: a sketch and a tally. This is what every engine runs in its processes."""

from __future__ import annotations

import bisect
import importlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.inference_path import bare_path
from kserve_warmup.samples.sample import DEFAULT_PATHS, Protocol, Sample
from kserve_warmup.sampling.bottom_k import Place
from kserve_warmup.sampling.formats.answers import judged
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record
from kserve_warmup.sampling.formats.storage import UNREADABLE, opened
from kserve_warmup.sampling.large_body import large_sample
from kserve_warmup.sampling.place import Placer, parsed
from kserve_warmup.sampling.select import Limits
from kserve_warmup.sampling.sketch import TrafficSketch

FORMATS = {
    "npz": "npz",
    "parquet": "parquet_table",
    "tf-serving": "tfrecord",
    "kserve-logger": "kserve_logger",
    "cloudevents": "cloudevents",
    "event-display": "event_display",
    "sagemaker": "sagemaker",
    "perf-analyzer": "perf_analyzer",
    "perf-analyzer-raw": "perf_raw",
    "triton-trace": "triton_trace",
    "aiperf": "aiperf",
    "v2-log": "v2_log",
    "jsonl": "jsonl",
    "csv": "csv_table",
    "body": "body",
}
"""Formats of traffic and the module in ``sources`` that reads each, in the order in which a file's content is tried."""


_HEAD = 65536

OWN_API = DEFAULT_PATHS["v1"]
"""Where requests of an API of its own are kept as sent to: what goes there has any form. No recorded path is this one,
which has no model's name in it."""

TOO_DEEP = "the body is nested too deep"


@dataclass(frozen=True, slots=True)
class Job:
    """What a process needs to know to read traffic.

    Attributes:
        limits: how much to keep.
        options: what a format of bare tensors does not tell.
        buckets: whether dimensions are rounded up to powers of two to make strata.
        since: requests before this time (seconds since 1970, UTC) are passed over, and those without a time.
        until: requests at or after this time as well.
        status_ok: requests whose answer's recorded status is not 200 are passed over, and those without an answer where
            others have one.
        checked: each request that would be kept is decoded whole at once, which is slow, and not kept if it is damaged.
    """

    limits: Limits = field(default_factory=Limits)
    options: ReadOptions = field(default_factory=ReadOptions)
    buckets: bool = False
    since: float | None = None
    until: float | None = None
    status_ok: bool = False
    checked: bool = False

    def __post_init__(self) -> None:
        """Have answers told where they decide."""
        if self.status_ok and not self.options.answers:
            object.__setattr__(self, "options", replace(self.options, answers=True))

    def passes(self, record: Record) -> bool:
        """Return whether a record belongs to the traffic that was asked for."""
        if self.status_ok and record.status not in (None, 200):
            return False
        if self.options.path is not None and record.path not in (None, OWN_API):
            return False
        if self.since is None and self.until is None:
            return True
        if record.time is None:
            return False
        return (self.since is None or record.time >= self.since) and (self.until is None or record.time < self.until)


@dataclass(slots=True)
class Tally:
    """What was read: usable requests, records skipped with the first few of these, and requests not asked for.

    Of the records skipped, those that were unfinished do not count against the traffic.
    """

    SHOWN = 5

    requests: int = 0
    bad: int = 0
    unfinished: int = 0
    passed_over: int = 0
    examples: list[BadRecord] = field(default_factory=list)

    def skip(self, bad: BadRecord) -> None:
        """Count a record that is no usable request."""
        self.bad += 1
        self.unfinished += bad.unfinished
        bisect.insort(self.examples, bad, key=_in_order)
        del self.examples[self.SHOWN :]

    def merge(self, other: Tally) -> None:
        """Take in what another process has counted."""
        self.requests += other.requests
        self.passed_over += other.passed_over
        skipped, unfinished = self.bad + other.bad, self.unfinished + other.unfinished
        for bad in other.examples:
            self.skip(bad)
        self.bad, self.unfinished = skipped, unfinished

    def check(self, max_bad: float) -> None:
        """Refuse traffic of which too much is unusable.

        Raises:
            SampleError: the share of bad records is above ``max_bad`` (0 to 1), or there is no request at all.
        """
        first = f"; first: {self.examples[0].where}: {self.examples[0].reason}" if self.examples else ""
        if not self.requests:
            others = f", and {self.passed_over} that were not asked for" if self.passed_over else ""
            raise SampleError(f"no request in {self.bad} records{others}{first}")
        damaged = self.bad - self.unfinished
        share = damaged / (damaged + self.requests)
        if share > max_bad:
            what = f"{damaged} of {damaged + self.requests} records ({share:.1%}) are unusable"
            raise SampleError(f"{what}, more than --max-bad {max_bad:g} allows{first}")


def _in_order(bad: BadRecord) -> tuple[str, int, str]:
    """Return what orders notes as their records stand; the first is what an error names."""
    return (bad.file, bad.number, bad.reason)


class Digest:
    """Traffic that was read, in small; digests of parts merge to that of the whole, in any order."""

    def __init__(self, job: Job) -> None:
        """Begin with nothing read."""
        self.job = job
        self.tally = Tally()
        self.forms: set[str] = set()
        self.sketch = TrafficSketch(per_stratum=job.limits.per_stratum, seed=job.limits.seed)

    def read(self, work: Iterable[tuple[str, Part]], progress: Callable[[int], object] = lambda _: None) -> Digest:
        """Read parts, each in its format (see :func:`records`), and return the digest.

        Args:
            work: the parts and their formats.
            progress: told each part's bytes when it is read.
        """
        placer = Placer(buckets=self.job.buckets)
        for form, part in work:
            for index, record in enumerate(records(form, part, self.job.options, self.forms)):
                self._count(record, Place(part, index), placer)
            progress(part.size)
        return self

    def merge(self, other: Digest) -> None:
        """Take in what another process has read."""
        self.tally.merge(other.tally)
        self.forms |= other.forms
        self.sketch.merge(other.sketch)

    def total(self) -> Tally:
        """Return the tally with what only showed when requests were chosen, and decoded whole."""
        total = Tally()
        total.merge(self.tally)
        for bad in self.sketch.unusable():
            total.requests -= 1
            total.skip(bad)
        return total

    def _count(self, record: Record | BadRecord, place: Place, placer: Placer) -> None:
        if isinstance(record, BadRecord):
            self.tally.skip(record)
            return
        if not self.job.passes(record):
            self.tally.passed_over += 1
            return
        try:
            if len(record.body) > (most := self.job.options.max_body):
                raise SampleError(f"its body has {len(record.body):,} bytes, more than --max-body {most}")  # noqa: TRY301
            stratum = placer.place(record)
        except (SampleError, RecursionError) as error:
            reason = str(error) if isinstance(error, SampleError) else TOO_DEEP
            self.tally.skip(record.bad(reason))
            return
        self.tally.requests += 1
        self.sketch.add(stratum, record, place, decoded if self.job.checked else None)


def decoded(record: Record, protocol: Protocol | None = None) -> Sample:
    """Return the request that a record holds, checked whole.

    Args:
        record: what was recorded.
        protocol: how its body is encoded; None: as the record says, or its content tells.

    Raises:
        SampleError: it holds none.
    """
    try:
        return large_sample(record, protocol) or parsed(record, protocol).sample(record.path)
    except RecursionError:
        raise SampleError(TOO_DEEP) from None


def records(form: str, part: Part, options: ReadOptions, seen: set[str] | None = None) -> Iterator[Record | BadRecord]:
    """Yield the records of a part.

    Args:
        form: its format; empty: to be told by its content.
        part: what to read.
        options: what a format of bare tensors does not tell.
        seen: the format is added to these.
    """
    try:
        name = form or sniffed(part.file)
    except UNREADABLE as error:
        yield BadRecord(part.file, f"cannot be read: {error}")
        return
    if seen is not None:
        seen.add(name)
    try:
        found = source(name).read(part, options)
        found = judged(found) if options.answers else found
        yield from found if options.path is None else _own(found, options.path)
    except MemoryError:
        yield BadRecord(part.file, "cannot be read any further: it takes more memory than there is")


def _own(found: Iterable[Record | BadRecord], path: str) -> Iterator[Record | BadRecord]:
    """Yield requests at the path of an API of its own as those of any form; where they are sent the gate is told."""
    for record in found:
        if isinstance(record, Record) and record.path is not None and bare_path(record.path) == path:
            yield record._replace(path=OWN_API, protocol="v1")
        else:
            yield record


def sniffed(file: str) -> str:
    """Return the format of a file, told by its content; what it cannot be read for is raised."""
    with opened(file) as stream:
        head = stream.read(_HEAD)
    return next(name for name in FORMATS if source(name).sniff(head))


@cache
def source(name: str) -> Any:
    """Return the module that reads a format; ``sources.record`` says what is in it.

    Raises:
        SampleError: there is no such format.
    """
    if name not in FORMATS:
        raise SampleError(f"unknown format {name!r}: use one of {', '.join(FORMATS)}")
    return importlib.import_module(f"kserve_warmup.sampling.formats.{FORMATS[name]}")
