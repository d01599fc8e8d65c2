"""How slow is the first request of a fresh server? WarmupModel, kserve.Model warmed by hand, and kserve.Model cold.

Ten fresh starts for each protocol and kind, measured as ``kserve_warmup.measure`` says. The kinds take turns, so that
whatever else the machine does meets all of them alike. Run in a checkout: ``python benchmarks/first_over_steady.py``.
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

from benchmarks.results import save
from kserve_warmup.demo.servers import Server, kserve_server
from kserve_warmup.demo.traffic import digit_requests
from kserve_warmup.measure import Target, measure, wait_ready
from kserve_warmup.samples.sample import Protocol, Sample
from kserve_warmup.samples.select import select

ROOT = Path(__file__).parents[1]
PLAIN = str(ROOT / "benchmarks" / "plain_predictors.py")
PROTOCOLS: tuple[Protocol, ...] = ("v1", "v2", "v2-binary", "grpc")
KINDS = ("warmup_model", "by_hand", "cold")
TRAFFIC = (1,) * 8 + (2, 4)


def server(model: str, kind: str, protocol: Protocol, samples: Path) -> contextlib.AbstractContextManager[Server]:
    repository = ROOT / "model_repository"
    if kind == "warmup_model":
        return kserve_server(repository, [model], samples)
    by_hand = [f"--by-hand={protocol}"] if kind == "by_hand" else []
    return kserve_server(repository, [model], program=(PLAIN, *by_hand))


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
    parser.add_argument("--model", default="digits_mlp", choices=("digits_mlp", "digits_knn", "digits_forest"))
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--requests", type=int, default=12)
    parser.add_argument("--protocols", default=",".join(PROTOCOLS))
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for protocol in options.protocols.split(","):
        found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        with tempfile.TemporaryDirectory() as folder:
            samples = Path(folder, "samples")
            select(digit_requests(protocol, TRAFFIC), options.model).save(samples)
            requests = digit_requests(protocol, (1,) * options.requests, first_row=100)
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
