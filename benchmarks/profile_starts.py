"""What does a profile save at the next start of a real server, and is the model warm then? Measured from outside.

    python -m benchmarks.profile_starts [--models digits_mlp …] [--rounds 3]    writes results/profile_starts.json

Each start is a fresh process with empty compile caches. Three unaided ones teach a profile with
``KSERVE_WARMUP_PROFILE_WRITE``; then ``kserve.Model`` cold, WarmupModel unaided and WarmupModel with the profile take
turns. ``calls_over_oracle``: two calls to each stratum on each path that it takes (the model's own, REST or gRPC) are
the oracle's; ``over_wire_oracle``: two to each stratum, as ``benchmarks.time_to_warm`` counts. ``added_seconds``: ready
less the cold start of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import FOLDER, save
from benchmarks.time_to_warm_demo import PLAIN, ROOT
from benchmarks.time_to_warm_models import ORACLE_CALLS
from kserve_warmup.demo.demo_servers import Server, kserve_server
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.needs import check_needs
from kserve_warmup.demo.recordings import ALL_MODELS, MODELS, record
from kserve_warmup.latency import Target, measure, time_to_ready
from kserve_warmup.profile import MOST_RUNS
from kserve_warmup.samples.sample import Sample
from kserve_warmup.sampling.reader import sample_traffic

VARIANTS = ("cold", "unaided", "profile")
REPOSITORY = ROOT / "model_repository"


def start(name: str, samples: Path, requests: Sequence[Sample], variant: str, profile: Path) -> dict[str, Any]:
    """Start a fresh process, wait until it is ready, and send ``requests`` at a steady pace."""
    load, names = os.getloadavg()[0], {"learn": "WRITE", "profile": ""}
    given = (
        {"_".join(filter(None, ("KSERVE_WARMUP_PROFILE", names[variant]))): str(profile)} if variant in names else {}
    )
    if variant == "cold":
        serving = kserve_server(REPOSITORY, [name], program=(PLAIN,))
    else:
        serving = kserve_server(REPOSITORY, [name], samples, warmup_seconds=120, variables=given)
    with serving as server:
        return {"load_before": load} | _seen(server, name, requests)


def _seen(server: Server, name: str, requests: Sequence[Sample]) -> dict[str, Any]:
    target = Target(server.http_url, name)
    ready = time_to_ready(target, server.started, timeout=600, alive=server.alive)
    url = server.grpc_url if requests[0].protocol == "grpc" else server.http_url
    latencies = measure(requests, Target(url, name), len(requests))
    report = server.report() or {}
    strata = report.get("strata", [])
    return {
        "ready_seconds": round(ready.seconds, 3),
        "ratio": round(latencies.ratio, 3),
        "calls": report.get("calls", 0),
        "oracle_calls": ORACLE_CALLS * sum(len(stratum["changes"]) + 1 for stratum in strata),
        "strata": len(strata),
        "converged": report.get("converged"),
        "profile": report.get("profile"),
    }


def summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return what the starts of each variant say together."""
    rows: dict[str, Any] = {}
    for variant, starts in found.items():
        ratios, ready = [one["ratio"] for one in starts], [one["ready_seconds"] for one in starts]
        rows[variant] = {"ready_seconds": median(ready), "ready_range": [min(ready), max(ready)]}
        rows[variant] |= {"first_over_steady": median(ratios), "first_over_steady_worst": max(ratios)}
        if variant in ("learn", "cold"):
            continue
        pairs = zip(starts, found["cold"], strict=True)
        rows[variant] |= {
            "calls": median(one["calls"] for one in starts),
            "calls_over_oracle": round(median(one["calls"] / one["oracle_calls"] for one in starts), 2),
            "over_wire_oracle": round(median(one["calls"] / one["strata"] / ORACLE_CALLS for one in starts), 2),
            "added_seconds": round(median(own["ready_seconds"] - cold["ready_seconds"] for own, cold in pairs), 2),
        }
        if variant == "profile":
            rows[variant]["used"] = [one["profile"]["used"] for one in starts]
            rows[variant]["refused"] = [one["profile"]["refused"] for one in starts]
    return rows


def model(name: str, rounds: int, count: int) -> dict[str, Any]:
    """Start one model in all variants."""
    check_needs([name])
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in ("learn", *VARIANTS)}
    with tempfile.TemporaryDirectory() as folder:
        samples, profile = Path(folder, "samples"), Path(folder, "profile.json")
        with kserve_server(REPOSITORY, [name], program=(PLAIN,)) as server:
            time_to_ready(Target(server.http_url, name), server.started, alive=server.alive)
            recording = record(ALL_MODELS[name], server, Path(folder, "traffic.jsonl"))
        sample_traffic([recording.traffic], name)[0].save(samples)
        measured = recording.measured[:count]
        for _ in range(MOST_RUNS):
            found["learn"].append(start(name, samples, measured[:4], "learn", profile))
        for turn in range(rounds):
            first = turn % len(VARIANTS)
            for variant in (*VARIANTS[first:], *VARIANTS[:first]):
                found[variant].append(start(name, samples, measured, variant, profile))
    return {"variants": summary(found), "starts": found}


def main() -> None:
    """Print and save; what is known of models that are not named stays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(ALL_MODELS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=10, help="sent to each server, 0.3 s apart")
    parser.add_argument(
        "--out", default="profile_starts", help="name below benchmarks/results or a path, without .json"
    )
    options = parser.parse_args()
    fetch(REPOSITORY)
    path = (FOLDER / options.out).with_suffix(".json")
    models = json.loads(path.read_text())["models"] if path.exists() else {}
    for name in options.models:
        models[name] = model(name, options.rounds, options.requests)
        for variant, row in models[name]["variants"].items():
            print(f"{name:14} {variant:8}", row, flush=True)
        over = {
            figure: median(found["variants"]["profile"][figure] for found in models.values())
            for figure in ("calls_over_oracle", "over_wire_oracle")
        }
        save(options.out, {"median_of_models": over, "models": models})
    print("median of the models", over)


if __name__ == "__main__":
    main()
