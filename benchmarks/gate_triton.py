"""How slow is the first request of a fresh tritonserver? Cold, after model_warmup, and behind the gate.

A model (JAX, a compile per batch size) and an ensemble around it, which model_warmup cannot be written for. Ten fresh
servers for each kind, measured as ``kserve_warmup.latency`` says; the kinds take turns, so that whatever else the
machine does meets all of them alike. After them bursts of eight requests at once, from which the batcher makes batches
that no request had. And what the gate itself takes: memory, processor time when idle.
Run in a checkout: ``python -m benchmarks.gate_triton --protocol v2``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import save
from kserve_warmup.demo.demo_servers import triton_server
from kserve_warmup.demo.recordings import digit_requests
from kserve_warmup.latency import Target, latency_ms, measure, wait_ready
from kserve_warmup.processes import ServerProcess, free_ports
from kserve_warmup.samples.sample import Protocol, Sample
from kserve_warmup.sampling.select import select
from kserve_warmup.transports.http import Address, fetch_now
from kserve_warmup.triton.repository import apply_all, plan_repository_removal

MODEL, ENSEMBLE = "digits_mlp", "digits_pipeline"
PROTOCOLS: tuple[Protocol, ...] = ("v2", "v2-binary", "grpc")
KINDS = ("cold", "model_warmup", "gate", "model_warmup+gate")
TRAFFIC = (1,) * 8 + (2, 4)
REPOSITORY = Path(__file__).parents[1] / "model_repository"
IDLE_SECONDS = 20
BURST = 8

CENTRED = """
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        images = [pb.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        return [pb.InferenceResponse([pb.Tensor("centred", image - image.mean())]) for image in images]
"""
CENTRED_CONFIG = """backend: "python"
max_batch_size: 8
input [ { name: "image" data_type: TYPE_FP32 dims: [ 64 ] } ]
output [ { name: "centred" data_type: TYPE_FP32 dims: [ 64 ] } ]
"""
ENSEMBLE_CONFIG = """platform: "ensemble"
max_batch_size: 8
input [ { name: "image" data_type: TYPE_FP32 dims: [ 64 ] } ]
output [ { name: "probabilities" data_type: TYPE_FP32 dims: [ 10 ] } ]
ensemble_scheduling {
  step [
    { model_name: "centred" model_version: -1
      input_map { key: "image" value: "image" } output_map { key: "centred" value: "centred" } },
    { model_name: "digits_mlp" model_version: -1
      input_map { key: "image" value: "centred" } output_map { key: "probabilities" value: "probabilities" } }
  ]
}
"""


def repository(folder: Path, *, warmup: bool) -> Path:
    """Make the repository: the model with or without its generated warm-up, a preprocessor, and their ensemble."""
    shutil.copytree(REPOSITORY / MODEL, folder / MODEL, ignore=shutil.ignore_patterns("__pycache__"))
    if not warmup:
        apply_all(plan_repository_removal(folder, [MODEL]).changed)
    for name, config in (("centred", CENTRED_CONFIG), (ENSEMBLE, ENSEMBLE_CONFIG)):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config)
    (folder / "centred" / "1" / "model.py").write_text(CENTRED)
    return folder


@contextlib.contextmanager
def gate(http_url: str, grpc_url: str, samples: Path) -> Iterator[tuple[int, int]]:
    """Run the gate, wait for its ready as a probe would, and yield its process id and port."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "kserve_warmup", "gate", http_url, "--samples", str(samples)]
    with ServerProcess([*command, "--grpc", grpc_url, "--host", "127.0.0.1", "--port", str(port)]) as process:
        wait_ready(Target(f"http://127.0.0.1:{port}", "the gate"), alive=process.alive, path="/ready")
        yield process.pid, port


def start(kind: str, model: str, folder: Path, requests: Sequence[Sample]) -> dict[str, Any]:
    grpc = requests[0].protocol == "grpc"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(triton_server(folder / ("warm" if "model_warmup" in kind else "plain")))
        wait_ready(Target(server.http_url, model), alive=server.alive)
        facts: dict[str, Any] = {"server_ready_seconds": time.monotonic() - server.started}
        if "gate" in kind:
            samples = folder / "samples" / model
            pid, port = stack.enter_context(gate(server.http_url, server.grpc_url, samples))
            facts["ready_seconds"] = time.monotonic() - server.started
        latencies = measure(requests, Target(server.grpc_url if grpc else server.http_url, model), len(requests))
        facts |= bursts(requests, Target(server.grpc_url if grpc else server.http_url, model))
        if "gate" in kind:
            facts |= cost(pid, port)
    return facts | {
        "ratio": latencies.ratio,
        "first_ms": latencies.first_ms,
        "steady_ms": latencies.steady_ms,
        "latencies_ms": latencies.latencies_ms,
    }


def bursts(requests: Sequence[Sample], target: Target) -> dict[str, float]:
    """Send eight requests at once, six times; the slowest of the first burst against the median of the later ones'."""
    slowest = []
    with ThreadPoolExecutor(BURST) as pool:
        list(pool.map(lambda _: time.sleep(0.01), range(BURST)))  # the threads exist before anything is measured
        for _ in range(6):
            time.sleep(0.3)
            slowest.append(max(pool.map(lambda sample: latency_ms(sample, target, 0), requests[:BURST])))
    return {"first_burst_ms": slowest[0], "burst_ratio": slowest[0] / median(slowest[3:])}


def cost(pid: int, port: int) -> dict[str, Any]:
    answer = fetch_now(Address("127.0.0.1", port), "GET", "/report", {}, None, seconds=5)
    report = json.loads(answer.body)
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return {"gate_calls": report["calls"], "gate_seconds": report["seconds"], "gate_peak_mb": peak / 1024}


def idle_share(folder: Path) -> float:
    """Return the share of a core that the gate takes once all is warm."""
    with (
        triton_server(folder / "warm") as server,
        gate(server.http_url, server.grpc_url, folder / "samples" / ENSEMBLE) as (pid, _),
    ):
        before = ticks(pid)
        time.sleep(IDLE_SECONDS)
        return (ticks(pid) - before) / os.sysconf("SC_CLK_TCK") / IDLE_SECONDS


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def summary(starts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratios = [s["ratio"] for s in starts]
    middle = {key: median(s[key] for s in starts) for key in starts[0] if key not in ("ratio", "latencies_ms")}
    return {"median_ratio": median(ratios), "worst_ratio": max(ratios)} | middle | {"starts": list(starts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--protocol", default="v2", choices=PROTOCOLS)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--requests", type=int, default=12)
    options = parser.parse_args()
    requests = digit_requests(options.protocol, (1,) * options.requests, first_row=100)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("plain", "warm"):
            repository(folder / name, warmup=name == "warm")
        for model in (MODEL, ENSEMBLE):
            select(digit_requests(options.protocol, TRAFFIC), model).save(folder / "samples" / model)
            found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
            for index in range(options.starts):
                for kind in KINDS[index % len(KINDS) :] + KINDS[: index % len(KINDS)]:
                    found[kind].append(start(kind, model, folder, requests))
            results[model] = {kind: summary(starts) for kind, starts in found.items()}
            for kind, s in results[model].items():
                ratio = f"first ÷ steady {s['median_ratio']:6.2f} (worst {s['worst_ratio']:.2f})"
                print(f"{model:16} {options.protocol:10} {kind:18} {ratio}  burst {s['burst_ratio']:.2f}", flush=True)
        idle = idle_share(folder)
    print(f"the idle gate takes {idle:.2%} of a core")
    save(f"gate_triton_{options.protocol}", {"protocol": options.protocol, "idle_share": idle, "models": results})


if __name__ == "__main__":
    main()
