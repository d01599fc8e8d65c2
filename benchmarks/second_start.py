"""What a baked image saves: time to ready and first ÷ steady of a cold server, a warm one, and one that was baked.

    python -m benchmarks.second_start [--models Numba Jax TorchCompile] [--starts 5]

Each start is a fresh process with an empty cache folder of its own; the three variants take turns. ``bake`` runs once a
model, its three starts included in ``bake_seconds``. Writes ``results/second_start.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.compiling_models import SHAPES, Compiling
from benchmarks.results import save
from kserve_warmup.caches import frameworks
from kserve_warmup.demo.recordings import request
from kserve_warmup.latency import Target, measure, time_to_ready
from kserve_warmup.processes import ServerProcess, free_ports
from kserve_warmup.samples import Sample, SampleSet

HERE = Path(__file__).parent
VARIANTS = ("cold", "warm_up", "baked")
REQUESTS = 12
CLI = (sys.executable, "-m", "kserve_warmup")


def requests(seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    shapes = [(rows, Compiling.width) for rows in SHAPES]
    return [request("v2", x=rng.normal(size=s).astype(np.float32)).with_weight(1 / len(shapes)) for s in shapes]


def start(model: str, variant: str, samples: Path, baked: Path, index: int) -> dict[str, Any]:
    http, grpc = free_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        environment = {**os.environ, **frameworks.variables(Path(folder, "caches")), "PYTHONPATH": path()}
        environment |= {"KSERVE_WARMUP_REPORT": str(report), "KSERVE_WARMUP_SAMPLES": str(samples)}
        environment |= {"KSERVE_WARMUP_MAX_SECONDS": "300"}
        if variant == "baked":
            environment |= {"KSERVE_WARMUP_BAKED": str(baked), "KSERVE_WARMUP_CACHE_TRUST": "writable"}
        environment |= {"KSERVE_WARMUP_ENABLED": "false"} if variant == "cold" else {}
        command = [*CLI, "serve", f"compiling_models:{model}", "--model_name", "model"]
        command += ["--http_port", str(http), "--grpc_port", str(grpc)]
        started = time.monotonic()
        with ServerProcess(command, env=environment, cwd=HERE) as server:
            target = Target(f"http://127.0.0.1:{http}", "model")
            ready = time_to_ready(target, started, timeout=600, alive=server.alive).seconds
            latencies = measure(requests(index + 1), target, REQUESTS * len(SHAPES))
        said = json.loads(report.read_text()) if report.exists() else {}
    first = [latencies.latencies_ms[i] for i in range(len(SHAPES))]
    later = [median(latencies.latencies_ms[i :: len(SHAPES)][REQUESTS // 2 :]) for i in range(len(SHAPES))]
    return {
        "ready_seconds": ready,
        "first_over_steady": [f / s for f, s in zip(first, later, strict=True)],
        "calls": said.get("calls", 0),
        "warm_up_seconds": said.get("seconds", 0.0),
        "cache": said.get("cache"),
        "cache_note": said.get("cache_note"),
        "profile": said.get("profile"),
    }


def path() -> str:
    return os.pathsep.join([str(HERE), str(HERE.parent)])


def bake(model: str, samples: Path, out: Path) -> float:
    command = [*CLI, "bake", f"compiling_models:{model}", "--samples", str(samples), "--out", str(out)]
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": path(), "KSERVE_WARMUP_MAX_SECONDS": "300"}
    subprocess.run(command, check=True, cwd=HERE, env=environment)
    return time.monotonic() - began


def summary(starts: list[dict[str, Any]]) -> dict[str, Any]:
    ratios = [r for s in starts for r in s["first_over_steady"]]
    ready = [s["ready_seconds"] for s in starts]
    return {
        "ready_seconds": [round(v, 2) for v in (median(ready), min(ready), max(ready))],
        "first_over_steady": [round(median(ratios), 2), round(max(ratios), 2)],
        "calls": median(s["calls"] for s in starts),
        "warm_up_seconds": round(median(s["warm_up_seconds"] for s in starts), 2),
        "last": {key: starts[-1][key] for key in ("cache", "cache_note", "profile")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["Numba", "Jax", "TorchCompile"])
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    result: dict[str, Any] = {}
    for model in options.models:
        with tempfile.TemporaryDirectory() as folder:
            samples, baked = Path(folder, "samples"), Path(folder, "warm")
            SampleSet("model", tuple(requests(0))).save(samples)
            seconds = bake(model, samples, baked)
            found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in VARIANTS}
            for index in range(options.starts):
                for variant in VARIANTS:
                    found[variant].append(start(model, variant, samples, baked, index))
            size = sum(f.stat().st_size for f in baked.rglob("*") if f.is_file())
            subprocess.run(["chmod", "-R", "u+w", str(baked)], check=True)
        result[model] = {"bake_seconds": round(seconds, 1), "megabytes": round(size / 1e6, 2)}
        result[model] |= {variant: summary(starts) for variant, starts in found.items()}
        print(model, json.dumps(result[model]))
    save("second_start", {"starts": options.starts, "models": result})


if __name__ == "__main__":
    main()
