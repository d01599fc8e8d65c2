"""How slow is the first request of a fresh server? WarmupModel, kserve.Model warmed by hand, and kserve.Model cold.

Ten fresh starts for each protocol and kind, measured as ``kserve_warmup.latency`` says. The kinds take turns, so that
whatever else the machine does meets all of them alike. Run in a checkout: ``python -m benchmarks.first_over_steady``.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.results import save
from kserve_warmup.demo.demo_servers import Server, kserve_server
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.inputs import speech
from kserve_warmup.demo.needs import check_needs
from kserve_warmup.demo.predictors import load_core
from kserve_warmup.demo.recordings import ALL_MODELS, digit_requests, request
from kserve_warmup.latency import Target, measure, wait_ready
from kserve_warmup.samples.sample import Protocol, Sample
from kserve_warmup.sampling.select import select

ROOT = Path(__file__).parents[1]
REPOSITORY = ROOT / "model_repository"
PLAIN = str(ROOT / "benchmarks" / "plain_predictors.py")
PROTOCOLS: tuple[Protocol, ...] = ("v1", "v2", "v2-binary", "grpc")
KINDS = ("warmup_model", "by_hand", "cold")
TRAFFIC = (1,) * 8 + (2, 4)
FIRST_MEASURED = 60  # beyond what TRAFFIC sends


def spoken(protocol: Protocol, first: int, count: int) -> list[Sample]:
    """One listener's requests from the chunk ``first`` on; ONNX tells the states, so that the client needs no torch."""
    listen = load_core(REPOSITORY / "silero_vad" / "1")
    state, heard = np.zeros((1, 2, 128), np.float32), []
    for chunk in speech()[: first + count]:
        inputs = {"audio": chunk[None], "state": state}
        heard.append(request(protocol, **inputs))
        state = listen(inputs)["next_state"]
    return heard[first:]


def traffic(model: str, protocol: Protocol, count: int) -> tuple[list[Sample], list[Sample]]:
    """What to warm with, and ``count`` other requests to measure with."""
    if model.startswith("silero_vad"):
        return spoken(protocol, 10, len(TRAFFIC)), spoken(protocol, FIRST_MEASURED, count)
    return digit_requests(protocol, TRAFFIC), digit_requests(protocol, (1,) * count, FIRST_MEASURED)


def server(model: str, kind: str, protocol: Protocol, samples: Path) -> contextlib.AbstractContextManager[Server]:
    if kind == "warmup_model":
        return kserve_server(REPOSITORY, [model], samples, warmup_seconds=ALL_MODELS[model].warmup_seconds)
    by_hand = [f"--by-hand={protocol}"] if kind == "by_hand" else []
    return kserve_server(REPOSITORY, [model], program=(PLAIN, *by_hand))


def start(model: str, kind: str, protocol: Protocol, samples: Path, requests: Sequence[Sample]) -> dict[str, Any]:
    with server(model, kind, protocol, samples) as process:
        wait_ready(Target(process.http_url, model), alive=process.alive)
        ready = time.monotonic() - process.started
        url = process.grpc_url if protocol == "grpc" else process.http_url
        latencies = measure(requests, Target(url, model), len(requests))
        report = process.report() or {}
    facts = {"ratio": latencies.ratio, "first_ms": latencies.first_ms, "steady_ms": latencies.steady_ms}
    facts |= {"ready_seconds": ready, "latencies_ms": latencies.latencies_ms}
    return facts | {f"warmup_{key}": report[key] for key in ("seconds", "calls", "converged") if key in report}


def summary(starts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    ratios = [s["ratio"] for s in starts]
    middle = {key: median(s[key] for s in starts) for key in ("first_ms", "steady_ms", "ready_seconds")}
    return {"median_ratio": median(ratios), "worst_ratio": max(ratios)} | middle | {"starts": list(starts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="digits_mlp", choices=ALL_MODELS)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--requests", type=int, default=12)
    parser.add_argument("--protocols", default=",".join(PROTOCOLS))
    options = parser.parse_args()
    check_needs([options.model])
    fetch(REPOSITORY)
    results: dict[str, Any] = {}
    for protocol in options.protocols.split(","):
        found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        with tempfile.TemporaryDirectory() as folder:
            samples = Path(folder, "samples")
            recorded, requests = traffic(options.model, protocol, options.requests)
            select(recorded, options.model).save(samples)
            for index in range(options.starts):
                for kind in KINDS[index % len(KINDS) :] + KINDS[: index % len(KINDS)]:
                    found[kind].append(start(options.model, kind, protocol, samples, requests))
        results[protocol] = {kind: summary(starts) for kind, starts in found.items()}
        for kind, s in results[protocol].items():
            print(
                f"{protocol:10} {kind:13} first ÷ steady {s['median_ratio']:7.2f} (worst {s['worst_ratio']:.2f})",
                end="",
            )
            print(f"  first {s['first_ms']:.2f} ms, steady {s['steady_ms']:.2f} ms", flush=True)
    save(f"first_over_steady_{options.model}", {"model": options.model, "protocols": results})


if __name__ == "__main__":
    main()
