"""Recorded traffic, in whatever files and formats, → samples → a sample set."""

from __future__ import annotations

import glob
import importlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.select import TrafficSketch
from kserve_warmup.samples.sources.record import UNREADABLE, BadRecord, Part, ReadOptions, Record, opened
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.wire import detect, request

FORMATS = {
    "npz": "npz",
    "kserve-logger": "kserve_logger",
    "perf-analyzer": "perf_analyzer",
    "jsonl": "jsonl",
    "body": "body",
}
"""Formats of traffic and the module in ``sources`` that reads each, in the order in which a file's content is tried."""

_HEAD = 65536


class Source(Protocol):
    """What a module in ``sources`` has."""

    def sniff(self, head: bytes) -> bool:
        """Return whether a file that begins with ``head`` is of this format."""

    def read(self, part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
        """Yield the requests of a part of a file, and a note of each record that is none."""


@dataclass
class Tally:
    """What was read: requests, records skipped, and the first few of these."""

    SHOWN = 5

    requests: int = 0
    bad: int = 0
    examples: list[BadRecord] = field(default_factory=list)

    def count(self, records: Iterable[Sample | BadRecord]) -> Iterator[Sample]:
        """Yield the samples among ``records`` and count them all."""
        for record in records:
            if isinstance(record, Sample):
                self.requests += 1
                yield record
            else:
                self.bad += 1
                if len(self.examples) < self.SHOWN:
                    self.examples.append(record)

    def check(self, max_bad: float) -> None:
        """Refuse traffic of which too much is unusable.

        Raises:
            SampleError: the share of bad records is above ``max_bad`` (0 to 1), or there is no request at all.
        """
        first = f"; first: {self.examples[0].where}: {self.examples[0].reason}" if self.examples else ""
        if not self.requests:
            raise SampleError(f"no request in {self.bad} records{first}")
        share = self.bad / (self.bad + self.requests)
        if share > max_bad:
            what = f"{self.bad} of {self.bad + self.requests} records ({share:.1%}) are unusable"
            raise SampleError(f"{what}, more than --max-bad {max_bad:g} allows{first}")


def source(name: str) -> Source:
    """Return the module that reads a format.

    Raises:
        SampleError: there is no such format.
    """
    if name not in FORMATS:
        raise SampleError(f"unknown format {name!r}: use one of {', '.join(FORMATS)}")
    return cast("Source", importlib.import_module(f"kserve_warmup.samples.sources.{FORMATS[name]}"))


def find_files(sources: Iterable[str | Path]) -> list[Path]:
    """Return the files that paths, folders (with all below them, hidden ones left out) and globs name, each once.

    Raises:
        SampleError: one of them names nothing.
    """
    found: dict[Path, None] = {}
    for item in map(str, sources):
        path = Path(item)
        named = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(item, recursive=True))]  # noqa: PTH207
        files = [file for one in named for file in (_below(one) if one.is_dir() else [one])]
        if not files:
            raise SampleError(f"{item}: there is no such file, or nothing in it; give files, folders or globs")
        found |= dict.fromkeys(files)
    return list(found)


def read(
    sources: Iterable[str | Path], *, form: str | None = None, options: ReadOptions | None = None
) -> Iterator[Sample | BadRecord]:
    """Yield every request in ``sources``, and a note of each record that is none.

    Args:
        sources: files, folders and globs; gzip-compressed files too.
        form: one of :data:`FORMATS`; None tells it from each file's content.
        options: what a format of bare tensors does not tell.
    """
    for path in find_files(sources):
        try:
            reader = source(form or _sniffed(path))
        except UNREADABLE as error:
            yield BadRecord(str(path), f"cannot be read: {error}")
            continue
        for record in reader.read(Part.whole(path), options or ReadOptions()):
            yield decoded(record) if isinstance(record, Record) else record


def decoded(record: Record) -> Sample | BadRecord:
    """Return the request that a record holds, checked whole."""
    try:
        protocol = record.protocol or detect(record.body, record.headers)
        headers = record.headers
        if protocol == "v2-binary" and headers.get("content-type", "").startswith("application/json"):
            # KServe answers a binary body of this type with 400, so it was not sent like this: the logger's default.
            headers = {name: value for name, value in headers.items() if name != "content-type"}
        return request(protocol, record.body, path=record.path, headers=headers)
    except SampleError as error:
        return record.bad(str(error))


def sample_traffic(
    records: Iterable[Sample | BadRecord],
    model: str,
    *,
    source: str = "",
    per_stratum: int = 3,
    max_samples: int = 200,
    seed: int = 0,
    max_bad: float = 0.01,
) -> tuple[SampleSet, Tally]:
    """Return a representative sample set of what :func:`read` yields, and what was read.

    Raises:
        SampleError: more than ``max_bad`` of the records are unusable, or there is no request.
    """
    tally, sketch = Tally(), TrafficSketch(per_stratum=per_stratum, seed=seed)
    for sample in tally.count(records):
        sketch.add(sample)
    tally.check(max_bad)
    return sketch.result(model, source=source, max_samples=max_samples), tally


def _below(folder: Path) -> list[Path]:
    below = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return [p for p in below if not any(part.startswith(".") for part in p.relative_to(folder).parts)]


def _sniffed(path: Path) -> str:
    with opened(path) as stream:
        head = stream.read(_HEAD)
    return next(name for name in FORMATS if source(name).sniff(head))
