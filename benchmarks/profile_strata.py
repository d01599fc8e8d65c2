"""How many calls does a process need whose strata have profiles of an earlier start, and who pays for it?

    python -m benchmarks.profile_strata     writes benchmarks/results/profile_strata.json

Recorded: the demo's models, from ``results/strata_series.json`` (cold starts on a machine with neighbours), each
replayed with what was learned from all others, two of them. The later path is the warm part of the same series, as if
REST came after the model's own path; what REST costs by itself is not in it. ``oracle``: two calls a stratum and path.
``after`` is that of ``benchmarks.strata_recorded``.

Simulated: the kinds of processes of ``benchmarks.strata_together``, with profiles of one and of three starts. ``same``:
of the same process with other noise. ``wrong``: of a process of another kind whose strata are as fast at their plateau,
the worst that a wrong profile can be. ``tier``: the process is slower by 1.15 to 1.8 for its first 20 to 250 calls,
compiling aside, and the profile is of one that is not; to be compared with ``unaided_tier``. ``node``: every call is
slower by as much, for ever. Harm is judged there by what is true of the process. Seeds were used for nothing else.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np

from benchmarks import strata_together as simulated
from benchmarks.results import save
from benchmarks.strata_recorded import SERIES, score
from kserve_warmup.profile import Profile
from kserve_warmup.steady_judge import SteadyStateJudge, Verdict

MOST = 90  # calls of a stratum
WARM = 60  # calls of a recorded series from which on it stands for a later path
Profiles = Mapping[int, Profile]
Started = tuple[simulated.Process, simulated.Process | None]
KINDS = tuple(
    kind
    for kinds in (*simulated.TUNED.values(), *simulated.SEEN.values(), *simulated.UNSEEN.values())
    for kind in kinds
)
SPEED, STRATA = "3 ms", 8


def judge(
    count: int,
    call: Callable[[int, int], float],
    profiles: Profiles | None = None,
    known: Mapping[int, Verdict] | None = None,
) -> tuple[SteadyStateJudge[int], list[list[float]]]:
    """Call as the judge asks: ``call`` gives a stratum's latency at its n-th call, counted from 0."""
    found = SteadyStateJudge(range(count), profiles=profiles, known=known, max_calls=MOST)
    seen: list[list[float]] = [[] for _ in range(count)]
    while (stratum := found.next()) is not None:
        seen[stratum].append(call(stratum, len(seen[stratum])))
        found.observe(stratum, seen[stratum][-1])
    return found, seen


def learn(starts: Sequence[list[list[float]]]) -> Profiles:
    """What starts that were judged in full leave."""
    return {stratum: Profile.learn([seen[stratum] for seen in starts]) for stratum in range(len(starts[0]))}


def recorded() -> dict[str, Any]:
    """Replay each recorded start with what was learned from the others."""
    models: dict[str, Any] = {}
    for name, starts in json.loads(SERIES.read_text())["models"].items():
        series = [[[value / 1e6 for value in row] for row in start] for start in starts]
        rows = [_replay([*series[:at], *series[at + 1 :]], series[at]) for at in range(len(series))]
        figures = ("calls_over_oracle", "unaided_over_oracle", "after", "unaided_after", "missed")
        models[name] = {figure: round(median(row[figure] for row in rows), 3) for figure in figures} | {"starts": rows}
        print(f"{name:<15}", {figure: models[name][figure] for figure in figures}, flush=True)
    return models


def _teach(series: list[list[float]]) -> tuple[list[list[float]], list[list[float]]]:
    """What a start sees on its first path and on a later one."""
    ran, seen = judge(len(series), lambda stratum, n: series[stratum][n])
    known = {stratum: ran.verdict(stratum) for stratum in range(len(series))}
    return seen, judge(len(series), lambda stratum, n: series[stratum][WARM + n], known=known)[1]


def _replay(earlier: Sequence[list[list[float]]], later: list[list[float]]) -> dict[str, Any]:
    count = len(later)
    taught, taught_warm = zip(*map(_teach, earlier), strict=True)
    aided, seen = judge(count, lambda stratum, n: later[stratum][n], learn(taught))
    alone, unaided = judge(count, lambda stratum, n: later[stratum][n])
    known = {stratum: aided.verdict(stratum) for stratum in range(count)}
    warm_aided, warm = judge(count, lambda stratum, n: later[stratum][WARM + n], learn(taught_warm), known)
    known = {stratum: alone.verdict(stratum) for stratum in range(count)}
    _, warm_unaided = judge(count, lambda stratum, n: later[stratum][WARM + n], known=known)

    def calls(*paths: list[list[float]]) -> float:
        return sum(len(rows) for path in paths for rows in path) / (2 * count * len(paths))

    cost = score(later, [len(rows) for rows in seen])
    return {
        "calls_over_oracle": round(calls(seen, warm), 3),
        "unaided_over_oracle": round(calls(unaided, warm_unaided), 3),
        "first_path": round(calls(seen), 3),
        "later_path": round(calls(warm), 3),
        "missed": cost["missed"],
        "after": round(cost["after"], 3),
        "unaided_after": round(score(later, [len(rows) for rows in unaided])["after"], 3),
        "used": [aided.profile_used, warm_aided.profile_used],
        "refused": [aided.profile_refused, warm_aided.profile_refused],
    }


def again(process: simulated.Process, seed: int) -> simulated.Process:
    """The same process at its next start: all but the noise is the same."""
    started = copy.deepcopy(process)
    started.rng = np.random.default_rng(seed)
    return started


class Tiered(simulated.Process):
    """A process that is slower for its first calls, compiling aside."""

    until, slower = 0, 1.0

    def expected(self, stratum: int) -> float:
        more = self.slower - 1 if self.all_calls < self.until else 0.0
        return super().expected(stratum) + more * self.plateau(stratum)


def variants(process: simulated.Process, other: simulated.Process, seed: list[int]) -> dict[str, Started]:
    """The processes that are started, each with the one that its profile is of."""
    rng = np.random.default_rng(seed)
    tiered, node = copy.deepcopy(process), copy.deepcopy(process)
    tiered.__class__ = Tiered
    tiered.until, tiered.slower = int(simulated.loguniform(rng, 20, 250)), rng.uniform(1.15, 1.8)  # type: ignore[attr-defined]
    node.levels = [level * tiered.slower for level in node.levels]  # type: ignore[attr-defined]
    other.levels = list(process.levels)
    return {
        "unaided": (process, None),
        "same": (process, process),
        "wrong": (process, other),
        "unaided_tier": (tiered, None),
        "tier": (tiered, process),
        "node": (node, process),
    }


def simulate(count: int, seed: int, runs: int) -> dict[str, Any]:
    """Judge processes without, with a right, and with wrong profiles of so many starts."""
    rows: dict[str, list[tuple[int, float, float, bool]]] = {}
    for at, kind in enumerate(KINDS):
        for index in range(count):
            speed, foreign = simulated.SPEEDS[SPEED], KINDS[(at + 1 + index) % len(KINDS)]
            process, other = (simulated.process_of(k, STRATA, speed, [seed, index]) for k in (kind, foreign))
            for name, (started, source) in variants(process, other, [seed, index, at]).items():
                teachers = [again(source, 1000 * seed + run) for run in range(runs)] if source else []
                taught = [judge(STRATA, lambda stratum, _, t=t: t.call(stratum))[1] for t in teachers]  # type: ignore[misc]
                fresh = again(started, 1000 * seed + 500)
                found, _ = judge(
                    STRATA,
                    lambda stratum, _, fresh=fresh: fresh.call(stratum),  # type: ignore[misc]
                    learn(taught) if taught else None,
                )
                calls = fresh.all_calls
                bad = [fmean(value > 1 + simulated.TOLERANCE for value in values) for values in fresh.serve()]
                rows.setdefault(name, []).append((calls, bad[0], bad[1], found.profile_used))
    result = {}
    for name, found_rows in rows.items():
        alone = rows["unaided_tier" if name == "tier" else "unaided"]
        result[name] = {
            "processes": len(found_rows),
            "calls": round(fmean(row[0] / base[0] for row, base in zip(found_rows, alone, strict=True)), 3),
            "more_calls": sum(row[0] > base[0] for row, base in zip(found_rows, alone, strict=True)),
            "harm": round(100 * fmean(row[2] for row in found_rows), 2),
            "added_harm": round(100 * fmean(row[2] - base[2] for row, base in zip(found_rows, alone, strict=True)), 2),
            "first": round(100 * fmean(row[1] for row in found_rows), 2),
            "used": round(fmean(row[3] for row in found_rows), 3),
        }
        print(f"{runs} {name:<12}", result[name], flush=True)
    return result


def main() -> None:
    """Print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--count", type=int, default=10, help="simulated processes a kind")
    parser.add_argument("--dry", action="store_true", help="save nothing")
    options = parser.parse_args()
    models = recorded()
    over = {
        figure: round(median(model[figure] for model in models.values()), 3)
        for figure in ("calls_over_oracle", "unaided_over_oracle")
    }
    print("median of the models", over)
    result = {"median_of_models": over, "recorded": models, "seed": options.seed}
    result["simulated"] = {str(runs): simulate(options.count, options.seed, runs) for runs in (1, 3)}
    if not options.dry:
        save("profile_strata", result)


if __name__ == "__main__":
    main()
