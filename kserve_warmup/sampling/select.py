"""Choose requests that stand for all traffic: which strata, how many requests of each, with what weight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Sample, Stratum
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.strata import nameless
from kserve_warmup.sampling.bottom_k import Kept, Place
from kserve_warmup.sampling.formats.record import Part, recorded
from kserve_warmup.sampling.place import bucketed
from kserve_warmup.sampling.sketch import TrafficSketch

_RARE = 5
"""One place in this many goes to rare strata, when there are too many for all."""

_NAMED = 20


@dataclass(frozen=True, slots=True)
class Limits:
    """How much to keep.

    Attributes:
        per_stratum: different requests of each stratum.
        max_samples: requests in all.
        max_bytes: of all bodies together; None: no limit.
        seed: another seed keeps other requests.

    Raises:
        SampleError: one of them is below 1.
    """

    per_stratum: int = 3
    max_samples: int = 200
    max_bytes: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing."""
        for name in ("per_stratum", "max_samples", "max_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SampleError(f"{name} is {value}: keep at least 1")


class Chosen(NamedTuple):
    """A kept request, its stratum, and the share of the traffic (0 to 1) that it stands for."""

    kept: Kept
    stratum: Stratum
    weight: float

    def of(self, sample: Sample) -> Sample:
        """Return the request itself, once it is read, as what stands for the traffic."""
        return sample.of(self.stratum).with_weight(self.weight)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is kept of the traffic.

    Attributes:
        requests: the kept requests.
        coverage: share of the traffic whose stratum has a request.
        facts: how it was chosen and what was left out, JSON-compatible.
    """

    requests: list[Chosen]
    coverage: float
    facts: dict[str, Any]


def choose(sketch: TrafficSketch, limits: Limits, *, quote: bool = True) -> Choice:
    """Return the choice of what ``sketch`` has kept.

    Every stratum that is kept has one request at least; what room is left goes to second and third requests, by traffic
    share. A stratum's share is split evenly over its requests. With ``quote``, strata that are left out are named by
    what their requests say; without, by their shapes alone.

    Raises:
        SampleError: there is no usable request, or not one fits into ``max_bytes``.
    """
    groups = sketch.groups()
    counts = {stratum: one.requests for stratum, one in groups.items() if one.requests}
    total = sum(counts.values())
    usable = {stratum: kept for stratum in counts if (kept := groups[stratum].usable)}
    if not usable:
        msg = "there is no request to choose from"
        raise SampleError(msg)
    ranked = _ranked({stratum: counts[stratum] for stratum in usable}, limits.max_samples)
    taken: dict[Stratum, list[Kept]] = {}
    for stratum, request in _fitting(_rounds(ranked, usable), limits):
        taken.setdefault(stratum, []).append(request)
    if not taken:
        smallest = min(kept.size for each in usable.values() for kept in each)
        raise SampleError(f"max_bytes is {limits.max_bytes}: the smallest request has {smallest} bytes")
    requests = [Chosen(kept, s, counts[s] / total / len(each)) for s, each in taken.items() for kept in each]
    left_out = sorted((s for s in counts if s not in taken), key=lambda s: (-counts[s], _order(s)))
    facts: dict[str, Any] = {
        "per_stratum": limits.per_stratum,
        "max_samples": limits.max_samples,
        **({"max_bytes": limits.max_bytes} if limits.max_bytes else {}),
        "seed": limits.seed,
        "requests": total,
        "strata": len(counts),
        "strata_kept": len(taken),
    }
    if left_out:
        names = {s: str(s if quote else nameless(s)._replace(variant=())) for s in left_out[:_NAMED]}
        named = [{"stratum": name, "share": counts[s] / total} for s, name in names.items()]
        facts["left_out"] = {"strata": len(left_out), "share": sum(counts[s] for s in left_out) / total, "first": named}
    return Choice(requests, sum(counts[s] for s in taken) / total, facts)


def select(samples: Iterable[Sample], model: str, *, source: str = "", limits: Limits | None = None) -> SampleSet:
    """Return the sample set of ``samples``, each counted as one request of the traffic."""
    limits, given = limits or Limits(), list(samples)
    sketch, part = TrafficSketch(per_stratum=limits.per_stratum, seed=limits.seed), Part("samples")
    for number, sample in enumerate(given):
        sketch.add(sample.stratum, recorded(sample, part.file, number), Place(part, number))
    choice = choose(sketch, limits)
    chosen = tuple(request.of(given[request.kept.place.index]) for request in choice.requests)
    return SampleSet(model, chosen, source, choice.coverage, choice.facts)


def _ranked(counts: Mapping[Stratum, int], room: int) -> list[Stratum]:
    """Return the strata to keep, the most important first.

    When there are too many, four fifths of the room go to those with the most traffic, and the rest to rare ones that
    have a protocol, a batch size, sizes (rounded up to powers of two) or a way through the server which no kept one
    has: what has the most traffic first.
    """
    by_share = sorted(counts, key=lambda s: (-counts[s], _order(s)))
    if len(by_share) <= room:
        return by_share
    kept = by_share[: room - room // _RARE]
    kept += _covering(by_share[len(kept) :], kept, counts, room - len(kept))
    chosen = set(kept)
    kept += [s for s in by_share if s not in chosen][: room - len(kept)]
    return kept


def _covering(rest: list[Stratum], kept: list[Stratum], counts: Mapping[Stratum, int], room: int) -> list[Stratum]:
    """Return strata of ``rest`` (the busiest first) that greedily cover the facets which ``kept`` leaves out."""
    covered = {facet for stratum in kept for facet in _facets(stratum)}
    traffic: Counter[Hashable] = Counter()
    busiest: dict[Hashable, Stratum] = {}
    for stratum in rest:
        for facet in _facets(stratum):
            traffic[facet] += counts[stratum]
            busiest.setdefault(facet, stratum)
    chosen: list[Stratum] = []
    for facet in sorted(traffic, key=lambda f: (-traffic[f], _order(busiest[f]), str(f))):
        if len(chosen) == room:
            break
        if facet not in covered:
            chosen.append(busiest[facet])
            covered.update(_facets(busiest[facet]))
    return chosen


def _facets(stratum: Stratum) -> tuple[Hashable, ...]:
    return (stratum.protocol, stratum.verb, bucketed(stratum).signature, stratum.batch, *stratum.variant)


def _rounds(ranked: list[Stratum], usable: Mapping[Stratum, list[Kept]]) -> Iterator[tuple[Stratum, Kept]]:
    """Yield the first request of each stratum, then the second of each, and so on."""
    for number in range(max(len(usable[stratum]) for stratum in ranked)):
        yield from ((stratum, usable[stratum][number]) for stratum in ranked if number < len(usable[stratum]))


def _fitting(requests: Iterable[tuple[Stratum, Kept]], limits: Limits) -> Iterator[tuple[Stratum, Kept]]:
    """Yield requests until there are ``max_samples``, leaving out those that ``max_bytes`` has no room for."""
    count = size = 0
    for stratum, kept in requests:
        if count == limits.max_samples:
            return
        if limits.max_bytes is None or size + kept.size <= limits.max_bytes:
            count, size = count + 1, size + kept.size
            yield stratum, kept


def _order(stratum: Stratum) -> tuple[object, ...]:
    """Return a key that orders strata of equal traffic, the same on every machine."""
    protocol, verb, signature, batch, variant = stratum
    return (protocol, signature.batched, batch, repr(signature.inputs), verb, variant)
