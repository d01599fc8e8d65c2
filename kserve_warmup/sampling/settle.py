"""From what a digest has kept to the requests themselves: only those that are chosen are decoded whole.

One that turns out to be damaged gives way to the next of its stratum. Where too many are, the traffic is read a second
time, and each request is then decoded before it is kept: what is chosen depends on the traffic alone either way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.sampling.digest import Digest, Job, decoded, records
from kserve_warmup.sampling.formats.record import BadRecord, Part, Record
from kserve_warmup.sampling.select import Choice, Chosen, choose

_T = TypeVar("_T")


class Settled(NamedTuple, Generic[_T]):
    """What is chosen in the end, what was made of each of its requests (by hash), and the digest it was chosen from."""

    choice: Choice
    found: dict[bytes, _T]
    digest: Digest


def settle(
    read: Callable[[Job], Digest],
    job: Job,
    forms: dict[Part, str],
    accept: Callable[[Sample], _T | str],
    max_bad: float,
    *,
    quote: bool = True,
) -> Settled[_T]:
    """Return the choice of what can be used.

    Others may be chosen for requests that are damaged or not accepted, which count as unusable.

    Args:
        read: reads the traffic as a job says.
        job: what to keep of what traffic.
        forms: the formats of the traffic's parts.
        accept: what is made of a request, or why it cannot be used.
        max_bad: share of unusable records above which to fail.
        quote: as :func:`choose` takes it.

    Raises:
        SampleError: more than ``max_bad`` of the records are unusable, there is no request, or a file was changed.
    """
    digest = read(job)
    found: dict[bytes, _T] = {}
    refused: dict[bytes, BadRecord] = {}
    while True:
        digest.total().check(max_bad)
        choice = choose(digest.sketch, job.limits, quote=quote)
        damaged: dict[bytes, BadRecord] = {}
        before = len(refused)
        for request, record in _fetched((r for r in choice.requests if r.kept.key not in found), forms, digest):
            key = request.kept.key
            try:
                sample = decoded(record, request.stratum.protocol)
            except SampleError as error:
                damaged[key] = record.bad(str(error))
                continue
            if isinstance(result := accept(sample), str):
                refused[key] = record.bad(result)
            else:
                found[key] = result
        if not damaged and len(refused) == before:
            return Settled(choice, found, digest)
        if digest.sketch.damage(damaged) and not digest.job.checked:
            digest = read(replace(job, checked=True))
        digest.sketch.refuse(refused)


def _fetched(requests: Iterable[Chosen], forms: dict[Part, str], digest: Digest) -> Iterator[tuple[Chosen, Record]]:
    """Yield the chosen requests as they were recorded; those that no process had room to hold are read again.

    Raises:
        SampleError: a file was changed in the meantime.
    """
    missing: dict[Part, dict[int, Chosen]] = defaultdict(dict)
    for request in requests:
        if request.kept.record is not None:
            yield request, request.kept.record
        else:
            missing[request.kept.place.part][request.kept.place.index] = request
    for part, wanted in missing.items():
        for index, record in enumerate(records(forms[part], part, digest.job.options)):
            if index in wanted:
                request = wanted.pop(index)
                if not isinstance(record, Record) or digest.sketch.key(record) != request.kept.key:
                    raise SampleError(f"{part.file} was changed while it was read: sample it again")
                yield request, record
            if not wanted:
                break
        if wanted:
            raise SampleError(f"{part.file} was cut off while it was read: sample it again")
