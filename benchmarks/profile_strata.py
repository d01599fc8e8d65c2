"""How many calls does a process need whose strata have profiles of an earlier start, and who pays for it?

    python -m benchmarks.profile_strata     writes benchmarks/results/profile_strata.json

Recorded: the demo's models, from ``results/strata_series.json`` (cold starts on a machine with neighbours), each start
learned from and each other one replayed. The later path is the warm part of the same series, as if REST came after the
model's own path; what REST costs by itself is not in it. ``oracle``: two calls a stratum and path. ``after`` is that of
``benchmarks.strata_recorded``.

Simulated: the kinds of processes of ``benchmarks.strata_together``. ``same``: the profile is of the same process with
other noise. ``wrong``: of a process of another kind whose strata are as fast at their plateau, the worst that a wrong
profile can be. Harm is judged there by what is true of the process. Seeds were used for nothing else.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Mapping
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


def learn(seen: list[list[float]]) -> Profiles:
    """What a start that was judged in full leaves."""
    return {stratum: Profile.learn([calls]) for stratum, calls in enumerate(seen)}


def recorded() -> dict[str, Any]:
    """Learn from each recorded start, and replay each other."""
    models: dict[str, Any] = {}
    for name, starts in json.loads(SERIES.read_text())["models"].items():
        rows = []
        for a, first in enumerate(starts):
            for b, second in enumerate(starts):
                if a != b:
                    earlier, later = ([[value / 1e6 for value in row] for row in start] for start in (first, second))
                    rows.append({"learned": a, "replayed": b} | _replay(earlier, later))
        figures = ("calls_over_oracle", "unaided_over_oracle", "after", "unaided_after", "missed")
        models[name] = {figure: round(median(row[figure] for row in rows), 3) for figure in figures} | {"pairs": rows}
        print(f"{name:<15}", {figure: models[name][figure] for figure in figures}, flush=True)
    return models


def _replay(earlier: list[list[float]], later: list[list[float]]) -> dict[str, Any]:
    count = len(later)
    ran, taught = judge(count, lambda stratum, n: earlier[stratum][n])
    known = {stratum: ran.verdict(stratum) for stratum in range(count)}
    _, taught_warm = judge(count, lambda stratum, n: earlier[stratum][WARM + n], known=known)
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


def simulate(count: int, seed: int) -> dict[str, Any]:
    """Judge processes without, with a right, and with a wrong profile."""
    rows: dict[str, list[tuple[int, float, float, bool]]] = {"unaided": [], "same": [], "wrong": []}
    for at, kind in enumerate(KINDS):
        for index in range(count):
            process = simulated.process_of(kind, STRATA, simulated.SPEEDS[SPEED], [seed, index])
            other = simulated.process_of(
                KINDS[(at + 1 + index) % len(KINDS)], STRATA, simulated.SPEEDS[SPEED], [seed, index]
            )
            other.levels = list(process.levels)
            for name, source in (("unaided", None), ("same", process), ("wrong", other)):
                profiles = None
                if source:
                    teacher = again(source, seed + 1)
                    profiles = learn(judge(STRATA, lambda stratum, _, teacher=teacher: teacher.call(stratum))[1])  # type: ignore[misc]
                started = again(process, seed + 2)
                found, _ = judge(STRATA, lambda stratum, _, started=started: started.call(stratum), profiles)  # type: ignore[misc]
                calls = started.all_calls
                first, mean = started.serve()
                bad = [fmean(value > 1 + simulated.TOLERANCE for value in values) for values in (first, mean)]
                rows[name].append((calls, bad[0], bad[1], found.profile_used))
    alone = rows["unaided"]
    result = {}
    for name, found_rows in rows.items():
        result[name] = {
            "processes": len(found_rows),
            "calls": round(fmean(row[0] / base[0] for row, base in zip(found_rows, alone, strict=True)), 3),
            "more_calls": sum(row[0] > base[0] for row, base in zip(found_rows, alone, strict=True)),
            "harm": round(100 * fmean(row[2] for row in found_rows), 2),
            "first": round(100 * fmean(row[1] for row in found_rows), 2),
            "used": round(fmean(row[3] for row in found_rows), 3),
        }
        print(f"{name:<8}", result[name], flush=True)
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
    result = {"median_of_models": over, "recorded": models, "simulated": simulate(options.count, options.seed)}
    if not options.dry:
        save("profile_strata", result)


if __name__ == "__main__":
    main()
