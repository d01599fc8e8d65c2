"""One fresh start of a model, measured from outside, and what several of them say together."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Any

from kserve_warmup.demo.demo_servers import Server
from kserve_warmup.latency import Target, measure, time_to_ready
from kserve_warmup.samples.sample import Sample

VARIANTS = ("cold", "by_hand", "warmup_model")
ALL_VARIANTS = (*VARIANTS, "off")
READY_TIMEOUT = 600.0
DRIVEN = 6

HEAD = (
    f"{'kind':15} {'variant':13} {'added s (median, min to max)':27} {'oracle s':>8} {'÷ oracle':>8} {'- oracle':>8}"
    f" {'calls':>6} {'÷ oracle':>8}  first ÷ steady (median, worst)  dearest ÷ steady"
)


@dataclass(frozen=True)
class Subject:
    """A model to start in several variants.

    Attributes:
        name: its name in the table.
        model: its name on the server.
        oracle_calls: what a warm-up that knows the future would send.
        oracle_seconds: and how long that would take.
        serve: a fresh process of a variant.
        requests: what to send to the start of that number, from 0.
        calls: how many calls of the model came before its clients', asked after so many measured requests.
        drive: how many calls are known to leave nothing to warm; 0: not known, or no more than are measured.
    """

    name: str
    model: str
    oracle_calls: int
    oracle_seconds: float
    serve: Callable[[str], AbstractContextManager[Server]]
    requests: Callable[[int], Sequence[Sample]]
    calls: Callable[[Server, str, int], int]
    drive: int = 0


def start(subject: Subject, variant: str, index: int, count: int) -> dict[str, Any]:
    """Start a fresh process, wait until it is ready and send ``count`` requests.

    Where warm-up is known to take more calls than that, the later half of the requests is no steady state: a server is
    then driven there without pauses, and the steady state is measured at the same pace as the first request was.
    """
    load = os.getloadavg()[0]
    with subject.serve(variant) as server:
        model = Target(server.http_url, subject.model)
        ready = time_to_ready(model, server.started, timeout=READY_TIMEOUT, alive=server.alive)
        requests = subject.requests(index)
        url = server.grpc_url if requests[0].protocol == "grpc" else server.http_url
        target = Target(url, subject.model)
        latencies = measure(requests, target, count)
        calls = subject.calls(server, variant, count)
        steady_ms = latencies.steady_ms
        if subject.drive:
            measure(requests, target, subject.drive, pace=0)
            steady_ms = median(measure(requests, target, DRIVEN).latencies_ms)
        report = server.report() or {}
    return {
        "load_before": load,
        "ready_seconds": ready.seconds,
        "resolution_seconds": ready.resolution,
        "calls": calls,
        "steady_ms": steady_ms,
        "ratio": latencies.first_ms / steady_ms,
        "dearest_ratio": max(latencies.latencies_ms) / steady_ms,
        "latencies_ms": latencies.latencies_ms,
        "reported_seconds": report.get("seconds"),
        "reported_converged": report.get("converged"),
    }


def run(subject: Subject, variants: Sequence[str], starts: int, count: int) -> dict[str, list[dict[str, Any]]]:
    """Return each variant's starts; the variants take turns, and every round begins with another one."""
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in variants}
    for index in range(starts):
        first = index % len(variants)
        for variant in (*variants[first:], *variants[:first]):
            found[variant].append(start(subject, variant, index, count))
    return found


def summary(subject: Subject, found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return what the starts say together; what is added is the difference to the cold start of the same round."""
    rows: dict[str, Any] = {}
    for variant, starts in found.items():
        pairs = zip(starts, found["cold"], strict=True)
        added = [own["ready_seconds"] - cold["ready_seconds"] for own, cold in pairs]
        calls, ratios = median(s["calls"] for s in starts), [s["ratio"] for s in starts]
        rows[variant] = {
            "added_seconds": median(added),
            "added_seconds_range": [min(added), max(added)],
            "added_over_oracle": median(added) / subject.oracle_seconds,
            "added_less_oracle_seconds": median(added) - subject.oracle_seconds,
            "calls": calls,
            "calls_over_oracle": calls / subject.oracle_calls,
            "first_over_steady": median(ratios),
            "first_over_steady_worst": max(ratios),
            "dearest_over_steady": median(s["dearest_ratio"] for s in starts),
            "ready_seconds": median(s["ready_seconds"] for s in starts),
            "starts": starts,
        }
    return {"oracle_seconds": subject.oracle_seconds, "oracle_calls": subject.oracle_calls, "variants": rows}


def lines(name: str, result: dict[str, Any]) -> Iterator[str]:
    """Yield a line of the table for each variant."""
    names = itertools.chain([name], itertools.repeat(""))
    for shown, (variant, row) in zip(names, result["variants"].items(), strict=False):
        low, high = row["added_seconds_range"]
        added = f"{row['added_seconds']:8.2f}  ({low:.2f} to {high:.2f})"
        against = f"{row['added_over_oracle']:8.1f} {row['added_less_oracle_seconds']:8.2f}"
        calls = f"{row['calls']:6.0f} {row['calls_over_oracle']:8.2f}"
        if variant == "cold":  # how far apart its own starts are says what an added second is worth
            seconds = [start["ready_seconds"] for start in row["starts"]]
            added, against, calls = f"  ready in {min(seconds):.2f} to {max(seconds):.2f}", "", ""
        yield (
            f"{shown:15} {variant:13} {added:27} {result['oracle_seconds']:8.3f} {against:17} {calls:15}"
            f"  {row['first_over_steady']:14.2f} {row['first_over_steady_worst']:15.2f}"
            f" {row['dearest_over_steady']:17.2f}"
        )
