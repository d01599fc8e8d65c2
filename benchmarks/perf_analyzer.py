"""Is perf_analyzer's first window as fast as its last? NVIDIA's own client against a fresh tritonserver.

It reads what ``kserve-warmup inspect --export-perf-analyzer`` wrote and sends it without a pause. The first and the
last second of its requests are compared, by mean and by the slowest request, on a cold server, after model_warmup and
behind the gate. Run in a checkout, after ``make perf-analyzer``: ``python -m benchmarks.perf_analyzer``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.gate_triton import ENSEMBLE, MODEL, TRAFFIC, gate, repository
from benchmarks.results import save
from kserve_warmup.demo.demo_servers import triton_server
from kserve_warmup.demo.recordings import digit_requests
from kserve_warmup.latency import Target, wait_ready
from kserve_warmup.sampling.export import perf_analyzer_data
from kserve_warmup.sampling.select import select

BINARY = Path(__file__).parents[1] / ".venv-perf-analyzer" / "perf_analyzer"
KINDS = ("cold", "model_warmup", "model_warmup+gate")
WINDOW_NS = 1_000_000_000


def start(kind: str, model: str, folder: Path, number: int) -> dict[str, float]:
    profile = folder / f"profile-{kind}-{model}-{number}.json"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(triton_server(folder / ("warm" if "model_warmup" in kind else "plain")))
        wait_ready(Target(server.http_url, model), alive=server.alive)
        if "gate" in kind:
            stack.enter_context(gate(server.http_url, server.grpc_url, folder / "samples" / model))
        options = ["-m", model, "-u", server.http_url.removeprefix("http://"), "--input-data", folder / f"{model}.json"]
        # whatever the windows are like, three of them: a run that does not settle would leave no profile
        options += ["--measurement-interval", 1000, "--stability-percentage", 999, "--profile-export-file", profile]
        subprocess.run([str(BINARY), *map(str, options)], check=True, capture_output=True, timeout=120)
    return windows(json.loads(profile.read_text())["experiments"][0]["requests"])


def windows(requests: list[dict[str, Any]]) -> dict[str, float]:
    """Compare the first second with the last: means, and the slowest requests, in milliseconds."""
    sent = sorted((r["timestamp"], (r["response_timestamps"][-1] - r["timestamp"]) / 1e6) for r in requests)
    first = [ms for at, ms in sent if at < sent[0][0] + WINDOW_NS]
    last = [ms for at, ms in sent if at > sent[-1][0] - WINDOW_NS]
    means = {"first_ms": fmean(first), "last_ms": fmean(last), "ratio": fmean(first) / fmean(last)}
    return means | {"first_slowest_ms": max(first), "last_slowest_ms": max(last), "first_request_ms": sent[0][1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("plain", "warm"):
            repository(folder / name, warmup=name == "warm")
        for model in (MODEL, ENSEMBLE):
            samples = select(digit_requests("v2-binary", TRAFFIC), model)
            samples.save(folder / "samples" / model)
            (folder / f"{model}.json").write_text(json.dumps(perf_analyzer_data(samples).document))
            found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
            for number in range(options.starts):
                for kind in KINDS:
                    found[kind].append(start(kind, model, folder, number))
            for kind, starts in found.items():
                middle = {key: median(s[key] for s in starts) for key in starts[0]}
                results.setdefault(model, {})[kind] = middle | {"starts": starts}
                print(
                    f"{model:16} {kind:18} first window {middle['first_ms']:.3f} ms, last {middle['last_ms']:.3f} ms: "
                    f"{middle['ratio']:.2f}; first request {middle['first_request_ms']:.2f} ms",
                    flush=True,
                )
    save("perf_analyzer", {"models": results})


if __name__ == "__main__":
    main()
