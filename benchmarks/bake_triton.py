"""What a bake saves a real tritonserver: seconds to ready and first ÷ steady, cold and from what was baked.

    python -m benchmarks.bake_triton [--models digits_knn digits_mlp digits_cnn] [--starts 5]

The models have the warm-up of the repository, so that they compile before they are ready. Each cold start has empty
caches; a baked one goes by ``kserve-warmup with-caches``, which is a part of its time. Both take turns. Writes
``results/bake_triton.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import save
from kserve_warmup.demo.recordings import digit_requests
from kserve_warmup.latency import Target, measure, time_to_ready
from kserve_warmup.processes import ServerProcess, free_ports
from kserve_warmup.samples import SampleSet
from kserve_warmup.triton.disposable import caches
from kserve_warmup.triton.tritonserver import backend_of, find_tritonserver

ROOT = Path(__file__).parents[1]
CLI = (sys.executable, "-m", "kserve_warmup")
BATCHES = (1, 8)
REQUESTS = 12


def command_of(models: Path, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return what starts tritonserver on a repository, with places for its ports, and its environment."""
    install = find_tritonserver()
    arguments, variables = backend_of(install, folder)
    ports = ["--http-port={http_port}", "--grpc-port={grpc_port}", "--allow-metrics=false"]
    return [str(install.binary), *arguments, *ports, f"--model-repository={models}"], {**os.environ, **variables}


def start(model: str, command: list[str], environment: dict[str, str]) -> dict[str, float]:
    http, grpc = free_ports(2)
    filled = [part.replace("{http_port}", str(http)).replace("{grpc_port}", str(grpc)) for part in command]
    with ServerProcess(filled, env=environment) as server:
        target = Target(f"http://127.0.0.1:{http}", model)
        ready = time_to_ready(target, server.started, timeout=600, alive=server.alive).seconds
        latencies = measure(digit_requests("v2", BATCHES[:1], 500), target, REQUESTS)
    return {"ready_seconds": ready, "first_over_steady": latencies.ratio}


def run(model: str, starts: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        samples, out, models = folder / "samples", folder / "warm", folder / "models"
        made = digit_requests("v2", BATCHES)
        SampleSet(model, tuple(one.with_weight(1 / len(made)) for one in made)).save(samples)
        shutil.copytree(ROOT / "model_repository" / model, models / model, ignore=shutil.ignore_patterns("__pycache__"))
        command, environment = command_of(models, folder)
        bake = [*CLI, "bake", "--samples", str(samples), "--out", str(out), "--json", "--", *command]
        done = subprocess.run(bake, env=environment, check=True, stdout=subprocess.PIPE)
        baked = environment | {"KSERVE_WARMUP_BAKED": str(out), "KSERVE_WARMUP_CACHE_TRUST": "writable"}
        found: dict[str, list[dict[str, float]]] = {"cold": [], "baked": []}
        for index in range(starts):
            own = folder / f"cold-{index}"
            found["cold"].append(start(model, command, environment | caches(own)))
            found["baked"].append(start(model, [*CLI, "with-caches", "--", *command], baked))
        subprocess.run(["chmod", "-R", "u+w", str(out)], check=True)
    result = json.loads(done.stdout)
    return {"files": result["files"], "bytes": result["size"], "bake": result["starts"], **summary(found)}


def summary(found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    return {
        variant: {
            name: [round(value, 2) for value in (median(values), min(values), max(values))]
            for name in ("ready_seconds", "first_over_steady")
            if (values := [start[name] for start in starts])
        }
        for variant, starts in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["digits_knn", "digits_mlp", "digits_cnn"])
    parser.add_argument("--starts", type=int, default=5)
    options = parser.parse_args()
    models = {}
    for model in options.models:
        models[model] = run(model, options.starts)
        print(model, json.dumps({key: models[model][key] for key in ("files", "cold", "baked")}))
    save("bake_triton", {"starts": options.starts, "median_least_most": True, "models": models})


if __name__ == "__main__":
    main()
