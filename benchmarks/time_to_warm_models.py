"""Models whose one-off costs are known, for they are made up: what ``benchmarks.time_to_warm`` starts and measures.

A kind says what a call costs: always, at a stratum's call number so and so, and while shared code is still slow. The
same :class:`Costs` serve the model, which spends them, and the oracle, which adds them up. Nothing here imports
kserve_warmup: a server without it must not pay for it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 8
"""Strata differ in their rows, 1 to this many, and then in the width of a row."""

ORACLE_CALLS = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """What a model costs, in seconds.

    Attributes:
        strata: how many different shapes its traffic has, the first one most often.
        call: a call, once all is warm.
        one_offs: at which calls of each stratum, from 1, how much is paid on top.
        tiers: until which call of all, and how many times slower calls are; in ascending order, then 1.
        noise: of a call's cost: the sigma of a log-normal factor whose mean is 1.
        cpu: whether it burns processor time; else it waits, as for a device or another service.
        width: floats in a row of the narrowest stratum.
        protocols: what its clients speak; empty: what the benchmark's ``--protocol`` says.
        uneven: how much the strata's one-off costs differ: the sigma of a log-normal factor, the sum staying as it is.
        seed: which of the factors.
    """

    strata: int
    call: float
    one_offs: tuple[tuple[int, float], ...] = ()
    tiers: tuple[tuple[int, float], ...] = ()
    noise: float = 0.03
    cpu: bool = True
    width: int = 4
    protocols: tuple[str, ...] = ()
    uneven: float = 0.0
    seed: int = 0

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Kind:
        """Return the kind that ``dataclasses.asdict`` and JSON have made ``fields`` of."""
        pairs = {name: tuple(map(tuple, fields[name])) for name in ("one_offs", "tiers") if name in fields}
        return cls(**fields | pairs)

    def jittered(self, seed: int) -> Kind:
        """Return a kind of the same sort with other figures, the same ones for the same seed."""
        random = np.random.default_rng(seed)

        def about(value: float) -> float:
            return float(value * np.exp(random.uniform(-0.5, 0.5)))

        return replace(
            self,
            strata=1 if self.strata == 1 else max(2, round(about(self.strata))),
            call=about(self.call),
            one_offs=tuple((n if n == 1 else max(2, round(about(n))), about(cost)) for n, cost in self.one_offs),
            tiers=tuple((round(until * factor), slower) for factor in [about(1)] for until, slower in self.tiers),
            noise=about(self.noise),
            width=round(about(self.width)),
            uneven=0.5,
            seed=seed,
        )

    @property
    def settling(self) -> int:
        """Return after how many calls of one stratum and nothing else that stratum is warm."""
        return max([until for until, _ in self.tiers] + [number for number, _ in self.one_offs], default=0)

    def shape(self, stratum: int) -> tuple[int, int]:
        """Return rows and width of the requests of a stratum, which is numbered from 0."""
        return 1 + stratum % ROWS, self.width + stratum // ROWS

    def stratum(self, shape: tuple[int, ...]) -> int:
        """Return the stratum of requests of a shape."""
        rows, width = shape
        return rows - 1 + (width - self.width) * ROWS

    def inputs(self, stratum: int, random: np.random.Generator) -> NDArray[np.float32]:
        """Return a request's input; its numbers are short in JSON, and exact."""
        return (random.integers(80, 800, self.shape(stratum)) / 8).astype(np.float32)


class Costs:
    """What each call costs, call after call, of one process."""

    def __init__(self, kind: Kind, noise: float) -> None:
        self.kind, self.noise = kind, noise
        self.calls: Counter[int] = Counter()
        self.random = np.random.default_rng()
        factors = np.random.default_rng(kind.seed).lognormal(0, kind.uneven, kind.strata)
        self.factors: list[float] = (factors / factors.mean()).tolist()

    def next(self, stratum: int) -> float:
        """Count a call of a stratum and return its seconds."""
        total = self.calls.total()
        self.calls[stratum] += 1
        call = self.kind.call * next((slower for until, slower in self.kind.tiers if total < until), 1.0)
        if self.noise:
            call *= self.random.lognormal(-(self.noise**2) / 2, self.noise)
        once = sum(cost for number, cost in self.kind.one_offs if number == self.calls[stratum])
        return call + once * self.factors[stratum]

    @property
    def settled(self) -> bool:
        """Whether every one-off cost has been paid."""
        last = max((number for number, _ in self.kind.one_offs), default=0)
        shared = max((until for until, _ in self.kind.tiers), default=0)
        return self.calls.total() >= shared and all(self.calls[s] >= last for s in range(self.kind.strata))


def oracle(kind: Kind, wire: Sequence[tuple[str, int]]) -> tuple[int, float]:
    """Return the calls and seconds of a warm-up that knows the model: no call more than its one-off costs ask for.

    Args:
        kind: the model.
        wire: protocol and stratum of each stratum on the wire; each has two calls at least, for two confirm each other.
    """
    costs, seconds, turns = Costs(kind, noise=0), 0.0, 0
    while turns < ORACLE_CALLS or not costs.settled:
        seconds += sum(costs.next(stratum) for _, stratum in wire)
        turns += 1
    return costs.calls.total(), seconds


def burn(seconds: float) -> None:
    """Keep a core busy for so long on the wall's clock: then a loaded machine does not change what a model costs."""
    end = time.perf_counter() + seconds
    numbers = np.arange(64.0)
    while time.perf_counter() < end:
        numbers = numbers[::-1] + 1.0


def expand(kind: Kind, protocol: str) -> Iterator[tuple[str, int]]:
    """Yield protocol and stratum of what a kind's clients send, the most frequent first."""
    for stratum in range(kind.strata):
        for spoken in kind.protocols or (protocol,):
            yield spoken, stratum


KINDS: dict[str, Kind] = {
    "one_offs": Kind(strata=8, call=0.003, one_offs=((1, 1.8 / 8),)),
    "one_offs_noisy": Kind(strata=8, call=0.008, one_offs=((1, 1.8 / 8),), noise=0.25),
    "nothing_40ms": Kind(strata=9, call=0.040, cpu=False),
    "late_recompile": Kind(strata=8, call=0.003, one_offs=((1, 0.05), (12, 0.05))),
    "nothing_1ms": Kind(strata=1, call=0.001),
    "slow": Kind(strata=2, call=1.0, one_offs=((1, 2.0),), cpu=False),
    "slow_decay": Kind(strata=1, call=0.002, tiers=((20, 3.0), (60, 1.5))),
    "large_bodies": Kind(strata=1, call=0.001, width=300_000, protocols=("v2", "v2-binary")),
    "many_strata": Kind(strata=40, call=0.005, one_offs=((1, 0.02),)),
}
"""What is measured unless ``--kinds`` says otherwise."""
