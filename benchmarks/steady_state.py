"""Does the steady-state detector stop when users would be served at the plateau?

Judged by harm, not by index: the mean latency of the 50 calls after a rule stops, over the mean of the final plateau.
``harm 10 %`` is the share of stops that leave users more than 10 % above the plateau, less the share that windows of 50
calls drawn from the plateau itself would show (noise alone).

    python -m benchmarks.steady_state                  generated families, writes benchmarks/results/steady_state.json
    python -m benchmarks.steady_state --series DIR     recorded series: every .json and .csv below DIR, one row a folder

A .json file holds a list of seconds, a list of such lists, or an object with ``seconds``; a .csv one value a line.
The constants of the detector were chosen on recorded series; generated ones are held out (any ``--seed`` will do).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import save
from kserve_warmup.steady import RECOMMENDED_MAX_CALLS, SteadyStateDetector

Series = NDArray[np.float64]
Rule = Callable[[Series], int | None]

CALLS = 1500  # length of a generated series; the last third is the plateau
HORIZON = 50  # calls after the stop that users are served with
TOLERANCE = 0.10
BAD = 0.25  # harm beyond this share is counted apart


# --- Generated series: one function a family, latencies relative to the plateau --------------------------------------


def _loguniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _first_calls(rng: np.random.Generator, level: Series) -> None:
    """One to three calls that load, trace or compile, which almost every cold model has."""
    for call in range(int(rng.integers(1, 4))):
        level[call] *= _loguniform(rng, 2, 2000)


def flat(rng: np.random.Generator) -> Series:
    """Nothing to warm."""
    del rng
    return np.ones(CALLS)


def slow_first_calls(rng: np.random.Generator) -> Series:
    """Slow only at the very start: TorchScript, numba, most servers."""
    level = np.ones(CALLS)
    _first_calls(rng, level)
    return level


def tiers(rng: np.random.Generator) -> Series:
    """A virtual machine's JIT: each method is compiled when it has been called often enough, which costs a slow call or
    two, and makes its share of the work faster."""
    methods = int(rng.integers(3, 40))
    shares = rng.dirichlet(np.full(methods, 0.7))
    slower, last = _loguniform(rng, 1.3, 10), _loguniform(rng, 5, 400)
    level = np.ones(CALLS)
    for share in shares:
        at = int(_loguniform(rng, 1, last))
        level[:at] += share * (slower - 1)
        level[at : at + int(rng.integers(1, 4))] += share * slower * rng.uniform(0, 4)
    _first_calls(rng, level)
    return level


def bursts(rng: np.random.Generator) -> Series:
    """A fast floor under bursts of compilation that get rarer and then end; a median does not see them."""
    level = np.ones(CALLS)
    at, end = 0.0, _loguniform(rng, 10, 250)
    while at < end:
        length = int(rng.integers(2, 12))
        level[int(at) : int(at) + length] *= rng.uniform(1.3, 8, min(length, CALLS - int(at)))
        at += length + _loguniform(rng, 2, 8) * (1 + at / 30)
    _first_calls(rng, level)
    return level


def exponential(rng: np.random.Generator) -> Series:
    """A smooth warm-up: caches fill, branch predictors and allocators settle."""
    level = 1 + _loguniform(rng, 0.2, 10) * np.exp(-np.arange(CALLS) / _loguniform(rng, 2, 80))
    _first_calls(rng, level)
    return level


def slow_drift(rng: np.random.Generator) -> Series:
    """A straight fall that takes 100 to 500 calls."""
    length = _loguniform(rng, 100, 500)
    return 1 + rng.uniform(0.2, 2) * np.clip(1 - np.arange(CALLS) / length, 0, None)


def recompile(rng: np.random.Generator) -> Series:
    """Flat but for one recompilation around call 60."""
    level = np.ones(CALLS)
    _first_calls(rng, level)
    level[int(rng.integers(20, 60))] *= _loguniform(rng, 5, 200)
    return level


def slowdown(rng: np.random.Generator) -> Series:
    """Deoptimised for good: it gets slower before it is steady."""
    level = np.ones(CALLS)
    level[: int(_loguniform(rng, 5, 300))] /= rng.uniform(1.1, 2)
    _first_calls(rng, level)
    return level


def collections(rng: np.random.Generator) -> Series:
    """Garbage collection: every so many calls one is slow, for ever."""
    level = np.ones(CALLS)
    period = rng.integers(7, 60)
    level[rng.integers(period) :: period] *= rng.uniform(1.5, 8)
    _first_calls(rng, level)
    return level


def bimodal(rng: np.random.Generator) -> Series:
    """Two modes that alternate at random, each kept for a few calls."""
    dwell, other = rng.uniform(1, 8), rng.uniform(1.15, 2.5)
    switches = rng.random(CALLS) < 1 / dwell
    level = np.where(np.cumsum(switches) % 2 == 0, 1.0, other)
    _first_calls(rng, level)
    return level


def contention(rng: np.random.Generator) -> Series:
    """A neighbour on the same cores: phases of slow calls that come and go for ever."""
    level, at = np.ones(CALLS), 0
    while at < CALLS:
        at += int(rng.exponential(25))
        length = int(rng.exponential(8))
        level[at : at + length] *= rng.uniform(1.2, 2.5)
        at += length
    _first_calls(rng, level)
    return level


def growth(rng: np.random.Generator) -> Series:
    """Never settles: a leak, every call dearer than the one before."""
    return 1 + np.arange(CALLS) / rng.uniform(50, 250)


def endless_fall(rng: np.random.Generator) -> Series:
    """Never settles: falls by a power of the calls."""
    return np.exp(-rng.uniform(0.3, 1) * np.log1p(np.arange(CALLS)))


def wandering(rng: np.random.Generator) -> Series:
    """Never settles: a random walk."""
    return np.exp(np.cumsum(rng.normal(0, rng.uniform(0.06, 0.15), CALLS))).astype(np.float64)


def level_shifts(rng: np.random.Generator) -> Series:
    """Never settles: recompiles to another speed every few dozen calls, for ever."""
    level, at = np.empty(CALLS), 0
    while at < CALLS:
        length = int(rng.uniform(15, 60))
        level[at : at + length] = _loguniform(rng, 1, 6)
        at += length
    return level


Family = Callable[[np.random.Generator], Series]
JIT: tuple[Family, ...] = (tiers, bursts, exponential, slowdown)
SERVING: tuple[Family, ...] = (flat, slow_first_calls, recompile, collections, bimodal, contention)
DRIFT: tuple[Family, ...] = (slow_drift,)
UNSETTLED: tuple[Family, ...] = (growth, endless_fall, wandering, level_shifts)
GROUPS = {"jit": JIT, "serving": SERVING, "drift": DRIFT, "never settles": UNSETTLED}


def generate(family: Family, count: int, seed: int) -> list[Series]:
    """``count`` series of a family in seconds, with noise of 0.5 to 15 % and rare wild calls on top."""
    series = []
    for index in range(count):
        rng = np.random.default_rng([seed, *family.__name__.encode(), index])
        level = family(rng) * rng.lognormal(0, _loguniform(rng, 0.005, 0.15), CALLS)
        wild = rng.random(CALLS) < _loguniform(rng, 0.0005, 0.02)
        level[wild] *= rng.uniform(1.5, 5, int(wild.sum()))
        series.append(level * _loguniform(rng, 5e-5, 0.5))
    return series


# --- The rules -------------------------------------------------------------------------------------------------------


def fixed_10(series: Series) -> int | None:
    """Ten calls."""
    return 10 if len(series) >= 10 else None


def two_medians(series: Series) -> int | None:
    """The medians of the last ten calls and of the ten before differ by at most the tolerance."""
    for calls in range(20, len(series) + 1):
        older, newer = np.median(series[calls - 20 : calls - 10]), np.median(series[calls - 10 : calls])
        if abs(older - newer) <= TOLERANCE * min(older, newer):
            return calls
    return None


def cov_10(series: Series) -> int | None:
    """Georges 2007: the last ten calls have a coefficient of variation of at most the tolerance."""
    for calls in range(10, len(series) + 1):
        window = series[calls - 10 : calls]
        if window.std() <= TOLERANCE * window.mean():
            return calls
    return None


def perf_analyzer(series: Series) -> int | None:
    """Three windows in a row of ten calls, each mean within the tolerance of their average."""
    means = series[: len(series) // 10 * 10].reshape(-1, 10).mean(axis=1)
    for windows in range(3, len(means) + 1):
        last = means[windows - 3 : windows]
        if np.all(np.abs(last - last.mean()) <= TOLERANCE * last.mean()):
            return windows * 10
    return None


def growing_blocks(series: Series) -> int | None:
    """The newest half in four blocks whose means and medians all agree within the tolerance."""
    calls = 40
    while calls <= len(series):
        blocks = np.array_split(series[calls // 2 : calls], 4)
        figures = ([block.mean() for block in blocks], [np.median(block) for block in blocks])
        if all(max(f) <= (1 + TOLERANCE) * min(f) for f in figures):
            return calls
        calls = math.ceil(calls * 1.1)
    return None


def kserve_warmup(series: Series) -> int | None:
    """This package's detector."""
    detector = SteadyStateDetector(TOLERANCE)
    return next((detector.calls for seconds in series.tolist() if detector.observe(seconds)), None)


RULES: tuple[Rule, ...] = (fixed_10, two_medians, cov_10, perf_analyzer, growing_blocks, kserve_warmup)


# --- The judgement ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """What a rule does on a group of series; shares of 1, harm less what noise alone shows."""

    series: int
    stopped: float
    median_calls: float | None = None
    harm_10: float | None = None
    harm_25: float | None = None

    def __str__(self) -> str:
        shares = (self.harm_10, self.harm_25)
        harm = " ".join(f"{'' if share is None else format(share, '.1%'):>10}" for share in shares)
        return f"{self.series:>6} {self.stopped:>8.1%} {self.median_calls or math.nan:>6.0f} {harm}"


def _plateau(series: Series) -> Series:
    return series[-(len(series) // 3) :]


def settles(series: Series) -> bool:
    """Whether the last third of a recorded series is a plateau: its three parts cost the same within the tolerance."""
    parts = [part.mean() for part in np.array_split(_plateau(series), 3)]
    return bool(max(parts) <= (1 + TOLERANCE) * min(parts))


def _windows(series: Series) -> Series:
    """The mean of every HORIZON calls in a row."""
    total = np.cumsum(np.concatenate([[0.0], series]))
    means: Series = (total[HORIZON:] - total[:-HORIZON]) / HORIZON
    return means


def score(rule: Rule, group: Sequence[Series]) -> Score:
    """Let a rule stop each series and see how users fare; nothing can stop where no 50 calls follow."""
    stops, harm = [], []
    for series in group:
        calls = rule(series[: min(RECOMMENDED_MAX_CALLS, len(series) - HORIZON)])
        if calls is None:
            continue
        plateau = _plateau(series)
        after = series[calls : calls + HORIZON].mean() / plateau.mean()
        alone = _windows(plateau) / plateau.mean()
        stops.append(calls)
        harm.append([(after > 1 + bound) - (alone > 1 + bound).mean() for bound in (TOLERANCE, BAD)])
    if not stops:
        return Score(len(group), 0.0)
    harm_10, harm_25 = np.mean(harm, axis=0).round(4).tolist()
    return Score(len(group), round(len(stops) / len(group), 4), float(np.median(stops)), harm_10, harm_25)


def microseconds_per_call(group: Iterable[Series]) -> float:
    """What an observation costs on average, on series that are watched to their end."""
    calls, started = 0, time.perf_counter()
    for series in group:
        detector = SteadyStateDetector(TOLERANCE)
        for seconds in series.tolist():
            detector.observe(seconds)
        calls += len(series)
    return (time.perf_counter() - started) / calls * 1e6


def read(folder: Path) -> dict[str, list[Series]]:
    """Recorded series below a folder that settle, grouped by the folder they lie in."""
    groups: dict[str, list[Series]] = {}
    for path in sorted([*folder.rglob("*.json"), *folder.rglob("*.csv")]):
        text = path.read_text()
        content = json.loads(text) if path.suffix == ".json" else [float(line) for line in text.split()]
        content = content["seconds"] if isinstance(content, dict) else content
        rows = content if content and isinstance(content[0], list) else [content]
        for row in rows:
            series = np.asarray(row, dtype=np.float64)
            if len(series) >= 6 * HORIZON and settles(series):
                groups.setdefault(path.parent.name, []).append(series)
    return groups


def table(groups: dict[str, list[Series]]) -> dict[str, dict[str, Score]]:
    """Score every rule on every group, and print it."""
    print(f"{'group':<18} {'rule':<15} {'series':>6} {'stopped':>8} {'calls':>6} {'harm 10 %':>10} {'harm 25 %':>10}")
    scores: dict[str, dict[str, Score]] = {}
    for name, group in groups.items():
        scores[name] = {rule.__name__: score(rule, group) for rule in RULES}
        for rule, figures in scores[name].items():
            print(f"{name:<18} {rule:<15} {figures}")
    return scores


def main() -> None:
    """Print the table; where series are generated, write it to ``results/steady_state.json`` too."""
    parser = argparse.ArgumentParser(description="How well rules for steady state stop, judged by harm.")
    parser.add_argument("--seed", type=int, default=2, help="of the generated series")
    parser.add_argument("--count", type=int, default=100, help="generated series a family")
    parser.add_argument("--series", type=Path, help="folder of recorded series, instead of generated ones")
    arguments = parser.parse_args()
    if arguments.series:
        table(read(arguments.series))
        return
    families = {f: generate(f, arguments.count, arguments.seed) for group in GROUPS.values() for f in group}
    groups = {name: [series for f in group for series in families[f]] for name, group in GROUPS.items()}
    scores = table(groups)
    result = {
        "seed": arguments.seed,
        "series": sum(map(len, families.values())),
        "microseconds_per_observation": round(microseconds_per_call(groups["never settles"]), 2),
        "rules": {name: {rule: asdict(figures) for rule, figures in rules.items()} for name, rules in scores.items()},
        "families": {f.__name__: asdict(score(kserve_warmup, series)) for f, series in families.items()},
    }
    save("steady_state", result)


if __name__ == "__main__":
    main()
