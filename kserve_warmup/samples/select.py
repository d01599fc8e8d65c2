"""Choose requests that stand for all traffic: strata, a seeded bottom-k inside each, weights and coverage."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.sample import Protocol, Sample, Signature
from kserve_warmup.samples.store import SampleSet

Stratum = tuple[Protocol, Signature, int]
_Key = tuple[bytes, str]


@dataclass(slots=True)
class StratumSketch:
    """The traffic of one stratum in small: how many requests there were, and the ``k`` of them with the lowest hashes.

    A request's hash depends on its content and the seed alone. So the same requests are kept whatever the order in
    which they come and however they are split over machines (bottom-k sketches: Cohen and Kaplan, PODC 2007).
    """

    k: int
    seed: int
    count: int = 0
    _kept: list[tuple[_Key, Sample]] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Count a request, and keep it if its hash is among the lowest; an equal one is kept once."""
        self.count += 1
        self._keep((_hash(sample.id, self.seed), sample.id), sample)

    def merge(self, other: StratumSketch) -> None:
        """Take in what another sketch of the same stratum, ``k`` and seed has seen."""
        self.count += other.count
        for key, sample in other._kept:
            self._keep(key, sample)

    def samples(self, count: int) -> list[Sample]:
        """Return the ``count`` requests with the lowest hashes, or as many as there are."""
        return [sample for _, sample in self._kept[:count]]

    def _keep(self, key: _Key, sample: Sample) -> None:
        position = bisect.bisect_left(self._kept, key, key=lambda item: item[0])
        known = position < len(self._kept) and self._kept[position][0] == key
        if not known and position < self.k:
            self._kept.insert(position, (key, sample))
            del self._kept[self.k :]


class TrafficSketch:
    """All traffic in small, stratum by stratum; it holds ``per_stratum`` bodies of each stratum and no others."""

    def __init__(self, *, per_stratum: int = 3, seed: int = 0) -> None:
        """Begin with no traffic.

        Args:
            per_stratum: how many different requests each stratum keeps at most.
            seed: another seed keeps other requests.

        Raises:
            SampleError: ``per_stratum`` is below 1.
        """
        if per_stratum < 1:
            raise SampleError(f"per_stratum is {per_stratum}: keep at least 1 request of each stratum")
        self.per_stratum = per_stratum
        self.seed = seed
        self.strata: dict[Stratum, StratumSketch] = {}

    @property
    def count(self) -> int:
        """Return the number of requests seen."""
        return sum(sketch.count for sketch in self.strata.values())

    def add(self, sample: Sample) -> None:
        """Count one request."""
        self._stratum(sample.stratum).add(sample)

    def merge(self, other: TrafficSketch) -> None:
        """Take in what another sketch has seen.

        Raises:
            SampleError: it was made with other parameters.
        """
        if (self.per_stratum, self.seed) != (other.per_stratum, other.seed):
            msg = "sketches can only be merged when they have the same per_stratum and seed"
            raise SampleError(msg)
        for stratum, sketch in other.strata.items():
            self._stratum(stratum).merge(sketch)

    def result(self, model: str, *, source: str = "", max_samples: int = 200) -> SampleSet:
        """Return the sample set of the traffic seen.

        When there are more strata than ``max_samples``, those with the least traffic are left out, and the coverage
        tells how much that was. Every stratum that is kept has one sample at least; what room is left goes to second
        and third samples, by traffic share. A stratum's share is split evenly over its samples.

        Raises:
            SampleError: no traffic was seen, or ``max_samples`` is below 1.
        """
        if max_samples < 1:
            raise SampleError(f"max_samples is {max_samples}: keep at least 1 request")
        total = self.count
        if not total:
            msg = "there is no request to choose from"
            raise SampleError(msg)
        ranked = sorted(self.strata.items(), key=lambda item: (-item[1].count, _order(item[0])))[:max_samples]
        sketches = [sketch for _, sketch in ranked]
        samples = [
            sample.with_weight(sketch.count / total / size)
            for sketch, size in zip(sketches, self._sizes(sketches, max_samples), strict=True)
            for sample in sketch.samples(size)
        ]
        selection = {"per_stratum": self.per_stratum, "max_samples": max_samples, "seed": self.seed}
        facts = {"requests": total, "strata": len(self.strata), "strata_kept": len(sketches)}
        coverage = sum(sketch.count for sketch in sketches) / total
        return SampleSet(model, tuple(samples), source, coverage, selection | facts)

    def _stratum(self, stratum: Stratum) -> StratumSketch:
        if stratum not in self.strata:
            self.strata[stratum] = StratumSketch(self.per_stratum, self.seed)
        return self.strata[stratum]

    def _sizes(self, sketches: list[StratumSketch], max_samples: int) -> list[int]:
        """Return how many samples each sketch gives; the room goes round by round, the busiest stratum first."""
        sizes = [1] * len(sketches)
        room = max_samples - len(sketches)
        for wanted in range(2, self.per_stratum + 1):
            for index, sketch in enumerate(sketches):
                if room and len(sketch.samples(wanted)) == wanted:
                    sizes[index] = wanted
                    room -= 1
        return sizes


def select(
    samples: Iterable[Sample],
    model: str,
    *,
    source: str = "",
    per_stratum: int = 3,
    max_samples: int = 200,
    seed: int = 0,
) -> SampleSet:
    """Return the sample set of ``samples``, each counted as one request of the traffic."""
    sketch = TrafficSketch(per_stratum=per_stratum, seed=seed)
    for sample in samples:
        sketch.add(sample)
    return sketch.result(model, source=source, max_samples=max_samples)


def _hash(sample_id: str, seed: int) -> bytes:
    return hashlib.blake2b(sample_id.encode(), digest_size=16, key=str(seed).encode()).digest()


def _order(stratum: Stratum) -> tuple[str, bool, int, str]:
    """Return a key that orders strata of equal traffic, the same on every machine."""
    protocol, signature, batch = stratum
    return (protocol, signature.batched, batch, repr(signature.inputs))
