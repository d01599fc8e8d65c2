"""How many calls does the warm-up spend, against an oracle that knows the future?

In a fresh process for each demo model: the warm-up's calls to the model's own path with recorded traffic and, in the
same loop and so under the same conditions, 300 more to each stratum after its stop, which tell the plateau. The oracle
stops at the first call from which a stratum stays within 10 % of its plateau, as running medians of 9 see it, or within
what the plateau's own noise allows where that is more.
Run in a checkout: ``python -m benchmarks.oracle_calls``; with ``--torch`` it takes torch's models.
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
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.results import save
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.needs import check_needs
from kserve_warmup.demo.predictors import Predictor
from kserve_warmup.demo.servers import kserve_server
from kserve_warmup.demo.traffic import MODELS, TORCH_MODELS, home, record
from kserve_warmup.measure import Target, wait_ready
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.traffic import sample_traffic
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.steady import SteadyStateDetector
from kserve_warmup.transports.in_process import InProcessTransport
from kserve_warmup.triton.disposable import caches

ROOT = Path(__file__).parents[1]
REPOSITORY = ROOT / "model_repository"
TAIL, WINDOW, TOLERANCE = 300, 9, 0.10


def oracle(series: list[float]) -> tuple[int, float]:
    """Return after how many calls the series has settled for good, and its plateau."""
    values = np.array(series)
    plateau = float(np.median(values[-TAIL // 2 :]))
    running = np.median(np.lib.stride_tricks.sliding_window_view(values, WINDOW), axis=1)
    distance = np.abs(running / plateau - 1)
    allowed = max(TOLERANCE, float(distance[-TAIL // 2 :].max()))
    outside = np.flatnonzero(distance > allowed)
    # the first calls are judged one by one: a window's median hides a single compilation
    head = np.flatnonzero(values[:WINDOW] > plateau * (1 + max(3 * allowed, 1)))
    return int(max([*(outside + 1), *(head + 1), 1])), plateau


@dataclass
class Stratum:
    """One stratum's calls; ``stopped`` is after how many of them the detector said steady."""

    samples: list[Sample]
    latencies: list[float] = field(default_factory=list)
    detector: SteadyStateDetector = field(default_factory=SteadyStateDetector)
    stopped: int | None = None

    async def call(self, transport: InProcessTransport, timeout: float) -> None:
        sample = self.samples[len(self.latencies) % len(self.samples)]
        latency = await asyncio.wait_for(transport.send(sample), timeout)
        self.latencies.append(latency)
        # another detector goes on after the stop: with nothing between the calls they would be faster than before
        if self.detector.observe(latency):
            self.stopped = self.stopped or len(self.latencies)
            self.detector = SteadyStateDetector()

    def row(self, limit: int) -> dict[str, Any]:
        stop = self.stopped or limit
        calls, plateau = oracle(self.latencies)
        row = {"protocol": self.samples[0].protocol, "batch": self.samples[0].batch, "calls": stop, "oracle": calls}
        return row | {"converged": bool(self.stopped), "after": median(self.latencies[stop : stop + 50]) / plateau}


async def warm(name: str, folder: str) -> list[dict[str, Any]]:
    """Send as ``replay`` does (a call to each stratum, then one stratum after the other), and go on after the stops."""
    Predictor.repository = home(REPOSITORY, name)
    model = Predictor(name)
    model.load()
    transport, settings = InProcessTransport(model), WarmupSettings()
    groups: dict[Any, list[Sample]] = {}
    for sample in SampleSet.open(folder):
        groups.setdefault(sample.stratum, []).append(sample)
    found = [Stratum(group) for group in sorted(groups.values(), key=lambda g: -sum(s.weight for s in g))]
    for stratum in found:
        await stratum.call(transport, settings.request_timeout)
    for stratum in found:
        while len(stratum.latencies) < (stratum.stopped or settings.max_calls) + TAIL:
            await stratum.call(transport, settings.request_timeout)
    return [stratum.row(settings.max_calls) for stratum in found]


def strata(name: str, folder: Path) -> list[dict[str, Any]]:
    command = [sys.executable, __file__, "--child", name, str(folder)]
    with tempfile.TemporaryDirectory() as cache:
        environment = (
            os.environ
            | {"KSERVE_WARMUP_ENABLED": "false", "KSERVE_WARMUP_REQUEST_TIMEOUT": "120"}
            | caches(Path(cache))
        )
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--torch", action="store_true", help="take torch's models instead of the demo's")
    options = parser.parse_args()
    chosen = TORCH_MODELS if options.torch else MODELS
    repository = home(REPOSITORY, next(iter(chosen)))
    check_needs(chosen)
    fetch(repository)
    models: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        with kserve_server(repository, list(chosen)) as server:
            for name, model in chosen.items():
                wait_ready(Target(server.http_url, name), alive=server.alive)
                recording = record(model, server, Path(scratch, f"{name}.jsonl"))
                sample_traffic([recording.traffic], name)[0].save(Path(scratch, name))
        for name in chosen:
            starts = [strata(name, Path(scratch, name)) for _ in range(options.starts)]
            spent, best = (sum(row[key] for rows in starts for row in rows) for key in ("calls", "oracle"))
            models[name] = {"calls": spent, "oracle": best, "times_oracle": spent / best, "starts": starts}
            calls = f"{spent / options.starts:7.0f} calls, oracle {best / options.starts:7.0f}"
            print(f"{name:14} {calls}: {spent / best:.2f}")
    times = median(model["times_oracle"] for model in models.values())
    print(f"median {times:.2f} times the oracle")
    save("oracle_calls_torch" if options.torch else "oracle_calls", {"median_times_oracle": times, "models": models})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        logging.disable(logging.CRITICAL)
        print(json.dumps(asyncio.run(warm(*sys.argv[2:]))))
    else:
        main()
