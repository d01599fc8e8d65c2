"""How much sooner does a detector stop that has a profile of an earlier run, and who pays for it?

    python -m benchmarks.profile_pairs                  generated families, where no recorded series are at hand
    python -m benchmarks.profile_pairs --series DIR     each .json below DIR holds several runs of one benchmark

A profile is learned from other runs of the same benchmark, of each only the calls up to the unaided detector's
verdict: more no earlier start has seen. Harm is that of ``benchmarks.steady_state``. Constants were chosen on the
benchmarks whose name's hash is even (``--tuning``). What is saved comes from the others, which had been looked at
once before: they showed 2 points more harm than the half that was tuned on, whereupon profiles of series that settle
late were given up, at a bound chosen on the tuning half; nothing else was changed. On the generated families nothing
was chosen. ``calls`` is the sum of all calls over that of the unaided detector, ``calls_per_series`` the mean of that
of each series, ``added_harm`` in points (standard error about 0.4). ``more_calls``: series that took more than
unaided.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks import steady_state
from benchmarks.results import save
from benchmarks.steady_state import HORIZON, TOLERANCE, Series, settles
from kserve_warmup.profile import Profile
from kserve_warmup.steady import RECOMMENDED_MAX_CALLS, SteadyStateDetector

DRAWS = 3
LEARNED = 3
EARLY = 30  # a series that settles within so many calls
DAY = 86_400.0  # seconds: the most that a profile is learned from
RUNS = 4  # of a generated benchmark
Benchmarks = dict[str, list[Series]]


@dataclass(frozen=True)
class Stop:
    """Where a detector stopped, what users then pay, as a share of stops, and whether it was the profile's doing."""

    calls: int
    harm: float
    aided: bool


def stop(series: Series, profile: Profile | None = None) -> Stop:
    """Let a detector watch a series."""
    detector = SteadyStateDetector(TOLERANCE, profile)
    watched = series[: min(RECOMMENDED_MAX_CALLS, len(series) - HORIZON)].tolist()
    steady = any(detector.observe(seconds) for seconds in watched)
    if not steady:
        return Stop(len(watched), 0.0, aided=False)
    plateau = series[-(len(series) // 3) :]
    after = series[detector.calls : detector.calls + HORIZON].mean() / plateau.mean()
    total = np.cumsum(np.concatenate([[0.0], plateau]))
    alone = (total[HORIZON:] - total[:-HORIZON]) / HORIZON / plateau.mean()
    harm = float(after > 1 + TOLERANCE) - float((alone > 1 + TOLERANCE).mean())
    return Stop(detector.calls, harm, detector.profile_used)


def settles_early(series: Series) -> bool:
    """Whether latency is at the plateau from call ``EARLY`` on: every 50 calls in a row cost about the same."""
    total = np.cumsum(np.concatenate([[0.0], series[EARLY:]]))
    means = (total[HORIZON:] - total[:-HORIZON]) / HORIZON
    return bool((means <= (1 + TOLERANCE / 2) * series[-(len(series) // 3) :].mean()).all())


@dataclass(frozen=True)
class Pair:
    """A run, and what was seen of other runs of the same benchmark; ``wrong`` is what was seen of another's."""

    name: str
    run: Series
    learned: list[list[float]]
    wrong: list[list[float]]


def pairs(benchmarks: Benchmarks, draw: int) -> Iterator[Pair]:
    """One run of each benchmark, drawn at random."""
    rng = np.random.default_rng(draw)
    names = list(benchmarks)
    order = rng.permutation(len(names))
    drawn: dict[str, Any] = {}
    for name in names:
        chosen = rng.permutation(len(benchmarks[name]))[: LEARNED + 1]
        runs = [benchmarks[name][index] for index in chosen]
        drawn[name] = (runs[0], [run[: stop(run).calls].tolist() for run in runs[1:]])
    for index, name in enumerate(names):
        at = int(np.flatnonzero(order == index)[0])
        other = names[order[(at + 1) % len(names)]]
        yield Pair(name, *drawn[name], drawn[other][1])


def goals(found: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """Judge each goal on one draw."""
    unaided = [stop(pair.run) for pair in found]
    early = [settles_early(pair.run) for pair in found]

    def judged(aid: Callable[[Pair], tuple[Series, Profile]], among: Sequence[bool] | None = None) -> dict[str, float]:
        among = among or [True] * len(found)
        stops = [(stop(*aid(pair)), alone) for pair, alone, use in zip(found, unaided, among, strict=True) if use]
        return {
            "series": len(stops),
            "calls": sum(aided.calls for aided, _ in stops) / sum(alone.calls for _, alone in stops),
            "calls_per_series": fmean(aided.calls / alone.calls for aided, alone in stops),
            "median_calls": median(aided.calls for aided, _ in stops),
            "unaided_median_calls": median(alone.calls for _, alone in stops),
            "harm": 100 * fmean(aided.harm for aided, _ in stops),
            "unaided_harm": 100 * fmean(alone.harm for _, alone in stops),
            "added_harm": 100 * fmean(aided.harm - alone.harm for aided, alone in stops),
            "used": fmean(aided.aided for aided, _ in stops),
            "more_calls": float(sum(aided.calls > alone.calls for aided, alone in stops)),
        }

    return {
        "three_runs": judged(lambda pair: (pair.run, Profile.learn(pair.learned))),
        "one_run": judged(lambda pair: (pair.run, Profile.learn(pair.learned[:1]))),
        "early_three_runs": judged(lambda pair: (pair.run, Profile.learn(pair.learned)), early),
        "early_one_run": judged(lambda pair: (pair.run, Profile.learn(pair.learned[:1])), early),
        "faster_0.7": judged(lambda pair: (0.7 * pair.run, Profile.learn(pair.learned))),
        "slower_1.5": judged(lambda pair: (1.5 * pair.run, Profile.learn(pair.learned))),
        "hint": judged(lambda pair: (pair.run, Profile.learn(pair.learned).as_hint())),
        "wrong": judged(lambda pair: (pair.run, Profile.learn(pair.wrong))),
        "wrong_same_speed": judged(lambda pair: (pair.run, Profile.learn(_at_speed(pair)))),
    }


def _at_speed(pair: Pair) -> list[list[float]]:
    """What was seen of another benchmark, as if its plateau were this one's: the worst that a wrong profile can be."""
    level = float(np.mean(pair.run[-(len(pair.run) // 3) :]))
    return [[min(value * level / fmean(run[-(len(run) // 2) :]), DAY) for value in run] for run in pair.wrong]


def read(folder: Path) -> Benchmarks:
    """Recorded benchmarks with enough runs that settle."""
    found: Benchmarks = {}
    for path in sorted(folder.rglob("*.json")):
        rows = [np.asarray(row, dtype=np.float64) for row in json.loads(path.read_text())]
        runs = [row for row in rows if len(row) >= 6 * HORIZON and settles(row)]
        if len(runs) > LEARNED:
            found[path.name] = runs
    return found


def half(benchmarks: Benchmarks, remainder: int) -> Benchmarks:
    """Half of the benchmarks, whichever runs they have."""
    return {
        name: runs for name, runs in benchmarks.items() if hashlib.sha256(name.encode()).digest()[0] % 2 == remainder
    }


def generate(count: int, seed: int) -> Benchmarks:
    """Benchmarks of the generated families; their runs share the curve, and differ in noise, speed and moments."""
    found: Benchmarks = {}
    for family in (*steady_state.JIT, *steady_state.SERVING, *steady_state.DRIFT):
        for index in range(count):
            name = f"{family.__name__}-{index}"
            shape = np.random.default_rng([seed, *name.encode()])
            level = family(shape)
            noise = math.exp(shape.uniform(math.log(0.005), math.log(0.10)))
            seconds = math.exp(shape.uniform(math.log(5e-5), math.log(0.5)))
            runs = []
            for _ in range(RUNS):
                late = np.exp(shape.normal(0, 0.15))  # compilations come at other calls in each run
                at = np.minimum((np.arange(len(level)) * late).astype(int), len(level) - 1)
                runs.append(
                    level[at] * shape.lognormal(0, noise, len(level)) * seconds * math.exp(shape.normal(0, 0.02))
                )
            found[name] = runs
    return found


def mean_of(draws: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The mean of each figure over the draws."""
    return {
        goal: {figure: round(fmean(draw[goal][figure] for draw in draws), 3) for figure in figures}
        for goal, figures in draws[0].items()
    }


def main() -> None:
    """Print each goal's figures, and save them."""
    parser = argparse.ArgumentParser(description="How much sooner a detector with a profile stops, and at what harm.")
    parser.add_argument("--series", type=Path, help="folder of recorded series, instead of generated ones")
    parser.add_argument("--tuning", action="store_true", help="the half that constants were chosen on; saves nothing")
    parser.add_argument("--count", type=int, default=20, help="generated benchmarks a family")
    parser.add_argument("--seed", type=int, default=1, help="of the draws, and of what is generated")
    arguments = parser.parse_args()
    if arguments.series:
        benchmarks = half(read(arguments.series), 0 if arguments.tuning else 1)
    else:
        benchmarks = generate(arguments.count, arguments.seed)
    draws = [goals(list(pairs(benchmarks, arguments.seed * 1000 + draw))) for draw in range(DRAWS)]
    result = mean_of(draws)
    for goal, figures in result.items():
        print(f"{goal:<18}", *(f"{name} {value:g}" for name, value in figures.items()), sep="  ")
    if not arguments.tuning:
        source = "recorded" if arguments.series else "generated"
        path = Path(__file__).parent / "results" / "profile_pairs.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        kept = {key: before[key] for key in ("recorded", "generated") if key in before}
        save("profile_pairs", kept | {source: {"benchmarks": len(benchmarks), "draws": DRAWS, "goals": result}})


if __name__ == "__main__":
    main()
