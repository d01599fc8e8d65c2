"""Does the judge of all strata together stop soon, and when users are served at the plateau?

Simulated processes with several strata: what strata share (HTTP, JSON, code that a JIT compiles) gets faster with the
calls of the process, what is a stratum's own with its own calls. Each is called as the judge asks, and as a detector
that knows one series would have it: one call each, then one stratum after the other until it is steady.

    python -m benchmarks.strata_together            writes benchmarks/results/strata_together.json
    python -m benchmarks.strata_together --seed 5   other processes of the same kinds

Judged by what is true of the simulated process and not by its noise. ``harm``: the share of strata whose next 50 calls
cost, without noise, more than 10 % above their plateau on average, strata taking turns. ``first``: the share whose next
call does. ``beyond``: the seconds that calls beyond the second of a stratum would have cost at the plateau, which is
what an oracle saves that pays each one-off cost once and two calls a stratum. ``within``: the share of processes in
which that is at most a second, or half of what the oracle pays. Constants were chosen on the kinds in TUNED; those in
SEEN were looked at in between. UNSEEN was written when the constants stood; three rules changed after it had first been
looked at (what a learned depth is, when a third call is made, how evidence is counted), none because of it but the
first, which made no difference. Saved figures are of a seed that was used for nothing else.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import save
from kserve_warmup.steady import RECOMMENDED_MAX_CALLS, SteadyStateDetector
from kserve_warmup.steady_judge import SteadyStateJudge, Verdict

Line = NDArray[np.float64]
Random = np.random.Generator

OWN, SHARED = 1200, 16000  # calls that lines reach; their last value holds from there on
HORIZON = 50  # calls of each stratum that users are served with
TOLERANCE = 0.10
SPEEDS = {
    "0.2 ms": (1e-4, 4e-4),
    "3 ms": (1e-3, 8e-3),
    "40 ms": (2e-2, 8e-2),
    "1 s": (0.5, 2.0),
    "1 ms to 1 s": (1e-3, 1.0),
}


def loguniform(rng: Random, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


@dataclass
class Process:
    """A process with strata, latencies being level x pattern x own x shared, and noise on top.

    Attributes:
        levels: Seconds of each stratum at its plateau.
        own: Of each stratum, by the number of its call: 1 at the plateau.
        shared: By the number of the process's call: 1 at the plateau. A stratum's ``part`` of it counts.
        extra: Seconds on top, by the number of the process's call: connections, routes, first imports.
        patterns: Factors of samples that take turns in a stratum.
        noise: Spread of a call.
        wild: Share of the calls that are ``wilder`` times as dear.
        known: Seconds that an earlier path found the strata to take.
        modes: Factors by the number of the process's call, that come and go for ever.
    """

    levels: list[float]
    rng: Random
    own: list[Line] = field(default_factory=list)
    shared: Line = field(default_factory=lambda: np.ones(1))
    parts: list[float] = field(default_factory=list)
    extra: Sequence[float] | Line = ()
    patterns: list[list[float]] = field(default_factory=list)
    noise: float = 0.03
    wild: float = 0.0
    wilder: float = 1.0
    modes: Line = field(default_factory=lambda: np.ones(1))
    known: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.own = self.own or [np.ones(1) for _ in self.levels]
        self.parts = self.parts or [1.0 for _ in self.levels]
        self.patterns = self.patterns or [[1.0] for _ in self.levels]
        self.calls, self.all_calls, self.seconds, self.oracle, self.beyond = [0] * len(self.levels), 0, 0.0, 0.0, 0.0

    def plateau(self, stratum: int) -> float:
        pattern = self.patterns[stratum]
        return self.levels[stratum] * pattern[self.calls[stratum] % len(pattern)]

    def expected(self, stratum: int) -> float:
        own, call = self.own[stratum], self.all_calls
        shared = 1 + self.parts[stratum] * (self.shared[min(call, len(self.shared) - 1)] - 1)
        extra = self.extra[call] if call < len(self.extra) else 0.0
        return float(self.plateau(stratum) * own[min(self.calls[stratum], len(own) - 1)] * shared + extra)

    def call(self, stratum: int) -> float:
        """Return the latency of the next call of a stratum, and keep the books."""
        expected, plateau = self.expected(stratum), self.plateau(stratum)
        latency = expected * math.exp(self.rng.normal(0, self.noise)) * self.modes[self.all_calls % len(self.modes)]
        if self.rng.random() < self.wild:
            latency *= self.wilder
        if self.calls[stratum] < 2:
            self.oracle += expected
        else:
            self.oracle += max(0.0, expected - plateau)
            self.beyond += min(expected, plateau)
        self.calls[stratum] += 1
        self.all_calls += 1
        self.seconds += latency
        return float(latency)

    def serve(self) -> tuple[list[float], list[float]]:
        """Return how far above the plateau the first and the next HORIZON calls of each stratum lie, without noise."""
        above: list[list[tuple[float, float]]] = [[] for _ in self.levels]
        for _ in range(HORIZON):
            for stratum in range(len(self.levels)):
                above[stratum].append((self.expected(stratum), self.plateau(stratum)))
                self.calls[stratum] += 1
                self.all_calls += 1
        first = [rows[0][0] / rows[0][1] for rows in above]
        mean = [sum(e for e, _ in rows) / sum(p for _, p in rows) for rows in above]
        return first, mean


# --- Kinds of processes: what is slow at first, what is noisy for ever ------------------------------------------------

Kind = Callable[[Process], None]


def _own(process: Process, draw: Callable[[Random], Line]) -> None:
    process.own = [draw(process.rng) for _ in process.levels]


def _first(rng: Random, calls: int = 1) -> Line:
    line = np.ones(OWN)
    line[:calls] *= loguniform(rng, 1.05, 500)
    return line


def one_off(process: Process) -> None:
    """Each stratum compiles at its first call: the ordinary case."""
    _own(process, _first)


def nothing(process: Process) -> None:
    """Nothing to warm."""


def twice(process: Process) -> None:
    """Each stratum compiles at its first two calls: profiling executors."""
    _own(process, lambda rng: _first(rng, 2))


def http(process: Process) -> None:
    """The process's first calls pay for connections, routes and imports, 1 to 50 ms and then less."""
    first = loguniform(process.rng, 1e-3, 5e-2)
    process.extra = [first * 0.4**call for call in range(8)]
    one_off(process)


def _late(rng: Random, call: int) -> Line:
    line = _first(rng)
    line[call] *= loguniform(rng, 5, 100)
    line[:call] *= rng.choice([1.0, 1.3])
    return line


def late_12(process: Process) -> None:
    """Each stratum compiles once more at its twelfth call, and is faster from there on or not."""
    _own(process, lambda rng: _late(rng, 11))


def late_any(process: Process) -> None:
    """A third of the strata compile once more, at any call from the third to the thirteenth."""
    _own(process, lambda rng: _late(rng, int(rng.integers(2, 13))) if rng.random() < 1 / 3 else _first(rng))


def own_decay(process: Process) -> None:
    """Each stratum's caches fill by themselves, within 1 to 20 calls."""
    _own(process, lambda r: 1 + loguniform(r, 0.2, 5) * np.exp(-np.arange(OWN) / loguniform(r, 1, 20)))


def tier(process: Process) -> None:
    """Shared code is compiled at call 20 to 250 of the process, which costs a call and makes all faster."""
    at = int(loguniform(process.rng, 20, 250))
    process.shared = np.ones(SHARED)
    process.shared[:at] = process.rng.uniform(1.1, 2.5)
    process.shared[at] = process.rng.uniform(2, 20)
    process.parts = [process.rng.uniform(0.3, 1) for _ in process.levels]
    one_off(process)


def jit(process: Process) -> None:
    """A virtual machine: many methods of shared code, each compiled when it was called often enough."""
    rng, process.shared = process.rng, np.ones(SHARED)
    slower, last = loguniform(rng, 1.3, 6), loguniform(rng, 10, 400)
    for share in rng.dirichlet(np.full(int(rng.integers(3, 30)), 0.7)):
        at = int(loguniform(rng, 1, last))
        process.shared[:at] += share * (slower - 1)
        process.shared[at : at + 2] += share * slower * rng.uniform(0, 4)
    one_off(process)


def shared_decay(process: Process) -> None:
    """Shared caches fill smoothly, within 5 to 100 calls of the process."""
    rng = process.rng
    process.shared = 1 + loguniform(rng, 0.2, 5) * np.exp(-np.arange(SHARED) / loguniform(rng, 5, 100))
    one_off(process)


def noisy(process: Process) -> None:
    """Noise of 10 to 30 % a call."""
    process.noise = process.rng.uniform(0.1, 0.3)
    one_off(process)


def collections(process: Process) -> None:
    """One call in 7 to 60 is 1.5 to 8 times as dear, for ever."""
    process.wild, process.wilder = 1 / loguniform(process.rng, 7, 60), process.rng.uniform(1.5, 8)
    one_off(process)


def bimodal(process: Process) -> None:
    """Every call hits a cache or misses it."""
    process.modes = process.rng.choice([1.0, process.rng.uniform(1.15, 2.5)], SHARED)
    one_off(process)


def samples_in_turns(process: Process) -> None:
    """Two or three samples of different size take turns in each stratum."""
    rng = process.rng
    process.patterns = [[loguniform(rng, 0.3, 3) for _ in range(int(rng.integers(2, 4)))] for _ in process.levels]
    one_off(process)


def endless_fall(process: Process) -> None:
    """Never settles: falls by a power of the calls."""
    process.shared = np.exp(-process.rng.uniform(0.3, 1) * np.log1p(np.arange(SHARED)))


def level_shifts(process: Process) -> None:
    """Never settles: shared code changes its speed every few dozen calls."""
    process.shared, at = np.ones(SHARED), 0
    while at < SHARED:
        length = int(process.rng.uniform(15, 60))
        process.shared[at : at + length] = loguniform(process.rng, 1, 6)
        at += length


# Looked at while the judge was written


def distinct_shapes(process: Process) -> None:
    """Each stratum's first two calls compile, differently dear; a fifth of the strata also at the third."""

    def line(rng: Random) -> Line:
        line = _first(rng)
        line[1] *= loguniform(rng, 1.2, 200)
        line[2] *= loguniform(rng, 1.2, 50) if rng.random() < 0.2 else 1
        return line

    _own(process, line)


def deoptimised(process: Process) -> None:
    """Shared code gets slower for good within the first 5 to 100 calls."""
    process.shared = np.ones(SHARED)
    process.shared[: int(loguniform(process.rng, 5, 100))] /= process.rng.uniform(1.1, 2)
    one_off(process)


def contention(process: Process) -> None:
    """A neighbour on the same cores: phases of slow calls that come and go for ever."""
    rng, process.modes, at = process.rng, np.ones(SHARED), 0
    while at < SHARED:
        at += int(rng.exponential(25))
        length = int(rng.exponential(8))
        process.modes[at : at + length] *= rng.uniform(1.2, 2.5)
        at += length
    one_off(process)


def bursts(process: Process) -> None:
    """A fast floor under bursts of compilation of shared code that get rarer and end."""
    rng, process.shared = process.rng, np.ones(SHARED)
    at, end = 0.0, loguniform(rng, 10, 250)
    while at < end:
        length = int(rng.integers(2, 12))
        process.shared[int(at) : int(at) + length] *= rng.uniform(1.3, 8, length)
        at += length + loguniform(rng, 2, 8) * (1 + at / 30)
    one_off(process)


def late_one(process: Process) -> None:
    """One stratum alone compiles once more, at a call from the third to the tenth, and is faster from there on."""
    _own(process, _first)
    one = int(process.rng.integers(len(process.levels)))
    process.own[one] = _late(process.rng, int(process.rng.integers(2, 10)))


def everything(process: Process) -> None:
    """Samples in turns, noise, collections, connections, and a decay of shared code, all in one."""
    shared_decay(process)
    samples_in_turns(process)
    collections(process)
    http(process)
    process.noise = loguniform(process.rng, 0.01, 0.2)


def straight_fall(process: Process) -> None:
    """A straight fall of shared code that takes 50 to 400 calls of the process."""
    rng = process.rng
    process.shared = 1 + rng.uniform(0.2, 2) * np.clip(1 - np.arange(SHARED) / loguniform(rng, 50, 400), 0, None)


def growth(process: Process) -> None:
    """Never settles: a leak."""
    process.shared = 1 + np.arange(SHARED) / process.rng.uniform(50, 250)


# Written when the constants stood; see above


def autotune(process: Process) -> None:
    """Each stratum tries algorithms in its first two to five calls, each try cheaper than the one before."""

    def line(rng: Random) -> Line:
        tries, line = int(rng.integers(2, 6)), np.ones(OWN)
        line[:tries] += loguniform(rng, 0.5, 50) * 0.3 ** np.arange(tries)
        return line

    _own(process, line)


def own_tiers(process: Process) -> None:
    """Each stratum gets faster by a tenth to a half at its fifth to tenth call, and that call costs no more."""

    def line(rng: Random) -> Line:
        line = _first(rng)
        line[: int(rng.integers(4, 10))] *= rng.uniform(1.1, 2)
        return line

    _own(process, line)


def pauses(process: Process) -> None:
    """Every 20 to 100 calls the process stops for 2 to 20 times a call, for ever."""
    period = int(process.rng.integers(20, 100))
    process.modes = np.ones(period)
    process.modes[-1] = process.rng.uniform(2, 20)
    one_off(process)


def turbo(process: Process) -> None:
    """The processor gets hot: 5 to 30 % slower for good, within 20 to 200 calls."""
    slower = process.rng.uniform(0.05, 0.3)
    process.shared = 1 - slower * np.exp(-np.arange(SHARED) / loguniform(process.rng, 20, 200))
    one_off(process)


def rare_branches(process: Process) -> None:
    """Shared code has branches that calls seldom take, slow the first time: ever rarer, and then none is left."""
    rng, process.shared = process.rng, np.ones(SHARED)
    for _ in range(int(rng.integers(3, 15))):
        process.shared[int(loguniform(rng, 1, 150))] += loguniform(rng, 1, 30)
    one_off(process)


# The same strata over REST, after the model's own path


def rest(process: Process) -> None:
    """HTTP costs a millisecond a call, much more at first, and each stratum's codec is slow once."""
    first = loguniform(process.rng, 1e-3, 5e-2)
    process.extra = [first * 0.4**call for call in range(8)]
    process.known = [level * process.rng.lognormal(0, process.noise) for level in process.levels]
    process.levels = [level + 1e-3 for level in process.levels]
    _own(process, lambda rng: np.array([loguniform(rng, 1, 2), 1.0]))


def rest_decays(process: Process) -> None:
    """HTTP's own code gets faster within 5 to 50 calls."""
    rest(process)
    rng = process.rng
    process.extra = [loguniform(rng, 1e-3, 1e-2)] * 400 * np.exp(-np.arange(400) / loguniform(rng, 5, 50))


TUNED = {
    "serving": (nothing, one_off, twice, http, noisy, collections, bimodal, samples_in_turns),
    "late": (late_12, late_any),
    "shared": (tier, jit, shared_decay),
    "own": (own_decay,),
    "never settles": (endless_fall, level_shifts),
}
SEEN = {
    "serving": (distinct_shapes, contention, deoptimised, everything),
    "late": (late_one,),
    "shared": (bursts, straight_fall),
    "never settles": (growth,),
}
UNSEEN = {"serving": (autotune, pauses, turbo), "own": (own_tiers,), "shared": (rare_branches,)}
SECOND: dict[str, tuple[Kind, ...]] = {"second path": (rest, rest_decays)}


def process_of(kind: Kind, strata: int, speed: tuple[float, float], seed: list[int]) -> Process:
    rng = np.random.default_rng([*seed, *kind.__name__.encode(), strata])
    process = Process([loguniform(rng, *speed) for _ in range(strata)], rng, noise=loguniform(rng, 0.005, 0.1))
    kind(process)
    return process


# --- Who judges -------------------------------------------------------------------------------------------------------


def together(process: Process) -> bool:
    """Call as the judge asks."""
    known = {stratum: Verdict(True, 9, level) for stratum, level in enumerate(process.known)}
    judge = SteadyStateJudge(range(len(process.levels)), TOLERANCE, known=known)
    while (stratum := judge.next()) is not None:
        judge.observe(stratum, process.call(stratum))
    return judge.steady


def alone(process: Process) -> bool:
    """Each stratum by itself, after one call to each."""
    detectors = [SteadyStateDetector(TOLERANCE) for _ in process.levels]
    for stratum, detector in enumerate(detectors):
        detector.observe(process.call(stratum))
    for stratum, detector in enumerate(detectors):
        while not detector.steady and detector.calls < RECOMMENDED_MAX_CALLS:
            detector.observe(process.call(stratum))
    return all(detector.steady for detector in detectors)


def measure(rule: Callable[[Process], bool], processes: list[Process]) -> dict[str, float]:
    """Let a rule warm processes, and see how users fare."""
    rows = []
    for process in processes:
        steady = rule(process)
        calls, beyond, oracle = process.all_calls, process.beyond, process.oracle
        first, mean = process.serve()
        rows.append((steady, calls, beyond, oracle, first, mean))
    stopped = [row for row in rows if row[0]]
    firsts, means = ([value for row in stopped for value in row[i]] for i in (4, 5))

    def share(values: list[float]) -> float:
        return round(sum(v > 1 + TOLERANCE for v in values) / len(values), 4) if values else 0.0

    return {
        "calls": median(row[1] for row in rows),
        "most_calls": max(row[1] for row in rows),
        "beyond": round(median(row[2] for row in rows), 3),
        "within": round(sum(row[2] <= max(1.0, 0.5 * row[3]) for row in rows) / len(rows), 3),
        "steady": round(len(stopped) / len(rows), 3),
        "harm": share(means),
        "first": share(firsts),
    }


def group(kinds: tuple[Kind, ...], strata: int, speed: str, count: int, seed: int) -> list[Process]:
    return [process_of(kind, strata, SPEEDS[speed], [seed, i]) for kind in kinds for i in range(count)]


def main() -> None:
    """Print a table and save it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=40, help="processes a kind")
    parser.add_argument("--strata", type=int, nargs="*", default=[13, 4, 1])
    parser.add_argument("--speed", nargs="*", default=list(SPEEDS))
    parser.add_argument("--only", choices=("tuned", "seen", "unseen"), help="of the kinds; nothing is saved")
    parser.add_argument("--each", action="store_true", help="a row a kind; nothing is saved")
    parser.add_argument("--no-alone", action="store_true", help="leave out the detector; nothing is saved")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    fields = ("calls", "most_calls", "beyond", "within", "steady", "harm", "first")
    print(f"{'':52}", *(f"{name:>10}" for name in fields))
    for name, groups in (("tuned", TUNED | SECOND), ("seen", SEEN), ("unseen", UNSEEN)):
        if options.only not in (None, name):
            continue
        for title, kinds in groups.items():
            for each in [(kind,) for kind in kinds] if options.each else [kinds]:
                label = each[0].__name__ if options.each else title
                for strata in options.strata:
                    for speed in options.speed:
                        for rule in (together,) if options.no_alone else (together, alone):
                            found = measure(rule, group(each, strata, speed, options.count, options.seed))
                            key = f"{name}, {label}, {strata} strata, {speed}"
                            result.setdefault(key, {})[rule.__name__] = found
                            print(f"{key:42} {rule.__name__:9}", *(f"{found[f]:>10.4g}" for f in fields), flush=True)
    if not (options.each or options.no_alone or options.only):
        save("strata_together", {"seed": options.seed, "processes_a_kind": options.count, "groups": result})


if __name__ == "__main__":
    main()
