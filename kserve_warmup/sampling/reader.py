"""Recorded traffic, in whatever files and formats, → samples → a sample set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.sampling.digest import FORMATS, Digest, Job, Tally, decoded, records, sniffed, source
from kserve_warmup.sampling.engines import Engine, local
from kserve_warmup.sampling.formats.record import UNFINISHED, BadRecord, Part, ReadOptions, Record
from kserve_warmup.sampling.formats.storage import UNREADABLE, find, public, size
from kserve_warmup.sampling.select import Choice
from kserve_warmup.sampling.settle import settle

if TYPE_CHECKING:
    from kserve_warmup.sampling.scrub.scrubber import Scrubber

__all__ = ["FORMATS", "Job", "Tally", "find_files", "plan", "read", "sample_traffic"]

PART = 64 * 2**20
"""Bytes of a file that one process reads at a time, where its format can be split."""


def find_files(sources: Iterable[str | Path]) -> list[str]:
    """Return the files that paths, folders (with all below them, hidden ones left out), globs and URLs name, each once.

    Raises:
        SampleError: one of them names nothing.
    """
    return list(dict.fromkeys(file for item in sources for file in find(str(item))))


def plan(sources: Iterable[str | Path], form: str | None = None) -> Iterator[tuple[str, Part] | BadRecord]:
    """Yield the parts to read of all files, each with its format, and a note of each file that cannot be read.

    The format of a small file is empty: who reads it tells it. How a file is split depends on its size alone, so that
    every engine reads the same parts.

    Args:
        sources: files, folders, globs and URLs of object stores.
        form: one of :data:`FORMATS`; None tells it from each file's content.
    """
    if form:
        source(form)
    for path in find_files(sources):
        yield from _parts(path, form)


def read(
    sources: Iterable[str | Path], *, form: str | None = None, options: ReadOptions | None = None
) -> Iterator[Sample | BadRecord]:
    """Yield every request in ``sources``, decoded whole, and a note of each record that is none."""
    for item in plan(sources, form):
        if isinstance(item, BadRecord):
            yield item
            continue
        for record in records(*item, options or ReadOptions()):
            yield _decoded(record) if isinstance(record, Record) else record


def sample_traffic(
    sources: Iterable[str | Path],
    model: str,
    *,
    job: Job | None = None,
    form: str | None = None,
    max_bad: float = 0.01,
    engine: Engine | None = None,
    scrubber: Scrubber | None = None,
    progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> tuple[SampleSet, Tally]:
    """Return a representative sample set of recorded traffic, and what was read.

    Args:
        sources: files, folders, globs and URLs of object stores; compressed files too.
        model: name of the model that the traffic was for.
        job: what to keep of what traffic.
        form: one of :data:`FORMATS`; None tells it from each file's content.
        max_bad: share of unusable records above which to fail.
        engine: reads the files; None: this process does.
        scrubber: takes private content out of what is chosen. A request that it cannot be applied to is unusable, and
            the set tells what was done.
        progress: told how many bytes were read, and of how many.

    Raises:
        SampleError: more than ``max_bad`` of the records are unusable, there is no request, or a scrub rule that is not
            optional applies to none.
    """
    job, named = job or Job(), list(map(str, sources))
    items = list(plan(named, form))
    work = [item for item in items if not isinstance(item, BadRecord)]
    total = sum(part.size for _, part in work)

    def read_as(job: Job) -> Digest:
        done = 0

        def count(size: int) -> None:
            nonlocal done
            done += size
            progress(done, total)

        digest = (engine or local.engine(1))(work, job, count)
        for item in items:
            if isinstance(item, BadRecord):
                digest.tally.skip(item)
        return digest

    forms, facts = {part: form for form, part in work}, dict[str, Any]()
    if scrubber is None:
        choice, found, digest = settle(read_as, job, forms, lambda sample: sample, max_bad)
        samples = tuple(one.of(found[one.kept.key]) for one in choice.requests)
    else:
        choice, samples, facts, digest = _scrubbed(scrubber, read_as, job, forms, max_bad)
    facts = choice.facts | ({"notes": notes} if (notes := _notes(digest.forms)) else {}) | facts
    kept = SampleSet(model, samples, " ".join(sorted(map(public, named))), choice.coverage, facts)
    return kept, digest.total()


def _notes(forms: Iterable[str]) -> list[str]:
    """Return what the formats of the traffic do not keep, as a person must know."""
    return sorted({note for form in forms if (note := getattr(source(form), "NOTE", None))})


def _scrubbed(
    scrubber: Scrubber, read_as: Callable[[Job], Digest], job: Job, forms: dict[Part, str], max_bad: float
) -> tuple[Choice, tuple[Sample, ...], dict[str, Any], Digest]:
    """Return the choice of what can be scrubbed, its requests, what was done to them, and what was read.

    Raises:
        SampleError: too much cannot be scrubbed, or a rule applies to nothing.
    """
    from kserve_warmup.sampling.scrub.scrubbing import Scrubbing, first_failure, merged  # which few need

    run = Scrubbing(scrubber)
    try:
        choice, done, digest = settle(read_as, job, forms, run.attempt, max_bad, quote=False)
    except SampleError:
        if run.failures and run.tried == run.failures.total():
            raise SampleError(f"nothing can be stored: {first_failure(run.failures)}") from None
        raise
    run.check()
    found = [(request, *done[request.kept.key]) for request in choice.requests]
    stored = merged((request.of(sample), places) for request, sample, places in found)
    return choice, tuple(sample for sample, _ in stored), run.facts(stored), digest


def _parts(path: str, form: str | None) -> Iterator[tuple[str, Part] | BadRecord]:
    try:
        total = size(path)
        if not total:
            yield BadRecord(path, "the file is empty", unit=UNFINISHED)
            return
        if total <= PART:
            yield form or "", Part(path, size=total)  # its reader tells the format: files may be many
            return
        name = form or sniffed(path)
        split = getattr(source(name), "split", None)
        for part in split(path, PART) if split else [Part.whole(path)]:
            yield name, part
    except UNREADABLE as error:
        yield BadRecord(path, f"cannot be read: {error}")


def _decoded(record: Record) -> Sample | BadRecord:
    try:
        return decoded(record)
    except SampleError as error:
        return record.bad(str(error))
