"""What a baked image saves: time to ready and first ÷ steady of a cold server, a warm one, and one that was baked.

    python -m benchmarks.second_start [--models Numba Jax TorchCompile TorchScript] [--starts 5]

Each start is a fresh process with an empty cache folder of its own; the three variants take turns. ``bake`` runs once a
model, its three starts included in ``bake_seconds``; where its proof fails, that is said, and the others are measured.
Writes ``results/second_start.json``: a model that is measured takes the place of what was there of it, so that one can
be run after another. silero-vad's weights are downloaded; without them, TorchScript's is a network of its kind.
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

from benchmarks import compiling_models
from benchmarks.compiling_models import SHAPES, SILERO
from benchmarks.results import FOLDER, save
from kserve_warmup.caches import frameworks
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.recordings import request
from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import Target, measure, time_to_ready
from kserve_warmup.processes import ServerProcess, free_ports
from kserve_warmup.samples import Sample, SampleSet

HERE = Path(__file__).parent
MODELS = ("Numba", "Jax", "TorchCompile", "TorchScript")
VARIANTS = ("cold", "warm_up", "baked")
REQUESTS = 10
CLI = (sys.executable, "-m", "kserve_warmup")

Start = dict[str, Any]


def requests(model: str, seed: int) -> list[Sample]:
    rng = np.random.default_rng(seed)
    inputs = [getattr(compiling_models, model).inputs(rng, rows) for rows in SHAPES]
    return [request("v2", **arrays).with_weight(1 / len(SHAPES)) for arrays in inputs]


def start(model: str, variant: str, samples: Path, baked: Path, index: int) -> Start:
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
            latencies = measure(requests(model, index + 1), target, REQUESTS * len(SHAPES)).latencies_ms
        said = json.loads(report.read_text()) if report.exists() else {}
    later = [median(latencies[i :: len(SHAPES)][REQUESTS // 2 :]) for i in range(len(SHAPES))]
    return {
        "ready_seconds": ready,
        "first_over_steady": [latencies[i] / later[i] for i in range(len(SHAPES))],
        "calls": said.get("calls", 0),
        "warm_up_seconds": said.get("seconds", 0.0),
        **{key: said.get(key) for key in ("cache", "cache_note", "profile")},
    }


def tried(model: str, variant: str, samples: Path, baked: Path, index: int) -> Start | str:
    """Return one start, or why there was none."""
    try:
        return start(model, variant, samples, baked, index)
    except (WarmupError, OSError) as error:
        return str(error)


def path() -> str:
    return os.pathsep.join([str(HERE), str(HERE.parent)])


def bake(model: str, samples: Path, out: Path) -> dict[str, Any]:
    command = [*CLI, "bake", f"compiling_models:{model}", "--samples", str(samples), "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": path(), "KSERVE_WARMUP_MAX_SECONDS": "300"}
    began = time.monotonic()
    done = subprocess.run(command, check=False, cwd=HERE, env=environment, capture_output=True, text=True)
    found: dict[str, Any] = {"bake_seconds": round(time.monotonic() - began, 1)}
    if done.returncode:
        return found | {"bake_failed": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    return found | {"megabytes": round(size / 1e6, 2)}


def measured(model: str, starts: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        samples, baked = Path(folder, "samples"), Path(folder, "warm")
        SampleSet("model", tuple(requests(model, 0))).save(samples)
        result: dict[str, Any] = {"starts": starts, **bake(model, samples, baked)}
        variants = VARIANTS if baked.is_dir() else VARIANTS[:-1]
        found: dict[str, list[Start]] = {variant: [] for variant in variants}
        failed: dict[str, str] = {}
        for index in range(starts):
            for variant in variants:
                one = tried(model, variant, samples, baked, index)
                found[variant] += [] if isinstance(one, str) else [one]
                failed |= {variant: one} if isinstance(one, str) else {}
        if baked.is_dir():
            subprocess.run(["chmod", "-R", "u+w", str(baked)], check=True)
    cold = median(s["ready_seconds"] for s in found["cold"]) if found["cold"] else None
    result |= {variant: summary(of, cold) for variant, of in found.items() if of}
    return result | ({"failed": failed} if failed else {})


def summary(starts: list[Start], cold: float | None) -> dict[str, Any]:
    """Medians over starts; of ready also the least and the most, of first ÷ steady also the worst."""
    ratios = [r for s in starts for r in s["first_over_steady"]]
    ready = [s["ready_seconds"] for s in starts]
    return {
        "ready_seconds": [round(v, 2) for v in (median(ready), min(ready), max(ready))],
        "added_seconds": None if cold is None else round(median(ready) - cold, 2),
        "first_over_steady": [round(median(ratios), 2), round(max(ratios), 2)],
        "calls": median(s["calls"] for s in starts),
        "warm_up_seconds": round(median(s["warm_up_seconds"] for s in starts), 2),
        "last": {key: starts[-1][key] for key in ("cache", "cache_note", "profile")},
    }


def table(models: dict[str, Any]) -> str:
    rows = [f"{'model':13}{'start':10}{'ready s':>8}{'added s':>8}{'first ÷ steady, worst':>24}{'calls':>7}"]
    for model, found in models.items():
        for variant in [one for one in VARIANTS if one in found]:
            one = found[variant]
            added = "" if one["added_seconds"] is None else f"{one['added_seconds']:.2f}"
            ratio = "{:.2f}, {:.2f}".format(*one["first_over_steady"])
            rows.append(f"{model:13}{variant:10}{one['ready_seconds'][0]:8.2f}{added:>8}{ratio:>24}{one['calls']:7.0f}")
        problems = [found["bake_failed"]] if "bake_failed" in found else []
        rows += [f"{model:13}{why}" for why in [*problems, *found.get("failed", {}).values()]]
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS)
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    file = FOLDER / "second_start.json"
    models: dict[str, Any] = json.loads(file.read_text())["models"] if file.exists() else {}
    for model in options.models:
        network = {}
        if model == "TorchScript":
            try:
                fetch(SILERO.parents[1])
                network = {"network": "silero-vad"}
            except WarmupError as error:
                print(error)
                network = {"network": "of silero-vad's kind"}
        models[model] = network | measured(model, options.starts)
        save("second_start", {"models": {name: models[name] for name in MODELS if name in models}})
        print(table({model: models[model]}))
    print(table(models))


if __name__ == "__main__":
    main()
