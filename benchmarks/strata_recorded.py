"""Is the judge of all strata together right about real models? Replayed on recorded series.

    python -m benchmarks.strata_recorded --record    calls the demo's models in fresh processes; minutes
    python -m benchmarks.strata_recorded             replays the judge, and a detector a stratum, on what was recorded

Recorded: in a process that has just loaded the model, all strata of the demo's traffic in turns through the model's
own path, with cold compile caches. The series lie in ``results/strata_series.json``. Replayed: the k-th call of a
stratum costs what it cost there, in whatever order it is asked for. ``oracle_seconds``: the first two calls of each
stratum, and one-off costs later on. ``missed``: one-off costs that users pay: calls after the stop that cost thrice the
level and 20 ms more, which is longer than a neighbour on the same cores delays a call. ``after``: the median of the
next 30 calls over that of the last third of the series, of the median stratum; a loaded machine moves it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.results import FOLDER, save
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.inputs import speech
from kserve_warmup.demo.predictors import Predictor
from kserve_warmup.demo.recordings import MODELS, digit_requests, request
from kserve_warmup.samples.sample import Sample
from kserve_warmup.steady import RECOMMENDED_MAX_CALLS, SteadyStateDetector
from kserve_warmup.steady_judge import SteadyStateJudge
from kserve_warmup.transports.in_process import InProcessTransport
from kserve_warmup.triton.disposable import caches

REPOSITORY = Path(__file__).parents[1] / "model_repository"
SERIES = FOLDER / "strata_series.json"
CALLS, AFTER = 150, 30


def strata(name: str) -> list[list[Sample]]:
    """The strata of a demo model's traffic, the largest share first, two samples each."""
    model = MODELS[name]
    keys = sorted(
        ((p, b) for p in model.protocols for b in model.batches),
        key=lambda key: -model.protocols[key[0]] * model.batches[key[1]],
    )
    if name == "silero_vad":
        state = np.zeros((1, 2, 128), np.float32)
        return [[request(p, audio=chunk[None], state=state) for chunk in speech()[20:22]] for p, _ in keys]
    return [digit_requests(protocol, (batch, batch)) for protocol, batch in keys]


async def call(name: str, calls: int) -> list[list[float]]:
    """Call a model that has just been loaded, its strata in turns."""
    Predictor.repository = REPOSITORY
    model = Predictor(name)
    model.load()
    transport, found = InProcessTransport(model, {}), strata(name)
    latencies: list[list[float]] = [[] for _ in found]
    for turn in range(calls):
        for index, samples in enumerate(found):
            latencies[index].append(await transport.send(samples[turn % len(samples)]))
    return latencies


def record(starts: int) -> None:
    """Record every demo model in fresh processes; microseconds, rounded to what can be told apart."""
    fetch(REPOSITORY)
    recorded: dict[str, list[list[list[int]]]] = {}
    for name in MODELS:
        for _ in range(starts):
            with tempfile.TemporaryDirectory() as cache:
                environment = os.environ | {"KSERVE_WARMUP_ENABLED": "false"} | caches(Path(cache))
                command = [sys.executable, __file__, "--child", name, str(CALLS)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            series = json.loads(done.stdout.splitlines()[-1])
            recorded.setdefault(name, []).append([[round(1e6 * value) for value in row] for row in series])
            print(name, f"{sum(map(sum, series)):.1f} s", flush=True)
    SERIES.write_text(json.dumps({"unit": "microseconds", "models": recorded}, separators=(",", ":")) + "\n")


def together(series: list[list[float]]) -> list[int]:
    """Return how many calls of each stratum the judge asks for; the last third is kept to tell the plateau."""
    judge, calls = SteadyStateJudge(range(len(series)), max_calls=CALLS * 2 // 3), [0] * len(series)
    while (stratum := judge.next()) is not None:
        judge.observe(stratum, series[stratum][calls[stratum]])
        calls[stratum] += 1
    return calls


def alone(series: list[list[float]]) -> list[int]:
    """Return how many calls each stratum's own detector takes."""
    calls = []
    for row in series:
        detector = SteadyStateDetector()
        for value in row[: min(CALLS * 2 // 3, RECOMMENDED_MAX_CALLS)]:
            if detector.observe(value):
                break
        calls.append(detector.calls)
    return calls


def score(series: list[list[float]], calls: list[int]) -> dict[str, float]:
    """Return what a rule spent, and how users fare after it."""
    levels = [median(row[-CALLS // 3 :]) for row in series]
    spent = sum(sum(row[:count]) for row, count in zip(series, calls, strict=True))
    oracle, missed, after = sum(sum(row[:2]) for row in series), 0, []
    for row, count, level in zip(series, calls, levels, strict=True):
        one_offs = [index for index, value in enumerate(row) if value > 3 * level + 0.02]
        oracle += sum(row[index] for index in one_offs if index > 1)
        missed += sum(index >= count for index in one_offs)
        after.append(median(row[count : count + AFTER]) / level)
    return {
        "calls": sum(calls),
        "seconds": spent,
        "oracle_seconds": oracle,
        "beyond_seconds": spent - oracle,
        "missed": missed,
        "after": median(after),
    }


def main() -> None:
    """Record, or replay and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--starts", type=int, default=2)
    options = parser.parse_args()
    if options.record:
        record(options.starts)
    models: dict[str, Any] = {}
    print(f"{'':16}{'strata':>7}", *(f"{n:>15}" for n in score([[1.0] * CALLS], [2])))
    for name, starts in json.loads(SERIES.read_text())["models"].items():
        for rule in (together, alone):
            for start in starts:
                series = [[value / 1e6 for value in row] for row in start]
                found = score(series, rule(series))
                models.setdefault(name, {}).setdefault(rule.__name__, []).append(found)
                print(f"{name:14} {len(series):>4} {rule.__name__:9}", *(f"{v:>15.3f}" for v in found.values()))
    save("strata_recorded", {"models": models})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        logging.disable(logging.CRITICAL)
        print(json.dumps(asyncio.run(call(sys.argv[2], int(sys.argv[3])))))
    else:
        main()
