"""How many requests does a server's own stack need until the next one is as fast as later ones?

    python -m benchmarks.calls_needed [--models silero_vad digits_forest] [--rounds 5]

Cold ``kserve.Model`` servers, each a fresh process, get 0 to 48 requests over REST as soon as they are ready, each on a
connection of its own; then ten more at a steady pace, of which the first is compared with the later ones. Nothing of
this project runs in the servers. Writes results/calls_needed.json.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.profile_starts import REPOSITORY
from benchmarks.results import save
from benchmarks.time_to_warm_demo import PLAIN
from kserve_warmup.demo.demo_servers import kserve_server
from kserve_warmup.demo.needs import check_needs
from kserve_warmup.demo.recordings import ALL_MODELS, record
from kserve_warmup.latency import Target, measure, time_to_ready
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.rest import RestTransport

CALLS = (0, 2, 6, 12, 24, 48)
MEASURED = 10
PAUSE_SECONDS = 0.2  # between warm-up and the first request, as a probe and a load balancer take


def ratio(name: str, requests: Sequence[Sample], calls: int) -> float:
    """Return first ÷ steady of a fresh server after so many requests."""
    with kserve_server(REPOSITORY, [name], program=(PLAIN,)) as server:
        target = Target(server.http_url, name)
        time_to_ready(target, server.started, timeout=600, alive=server.alive)
        asyncio.run(_send(RestTransport(server.http_url, name, 60), requests, calls))
        time.sleep(PAUSE_SECONDS)
        return measure(requests[:MEASURED], target, MEASURED).ratio


async def _send(transport: RestTransport, requests: Sequence[Sample], calls: int) -> None:
    for number in range(calls):
        await transport.send(requests[number % len(requests)])


def model(name: str, rounds: int) -> dict[str, dict[str, object]]:
    """Measure one model, the numbers of calls in an order that changes from round to round."""
    check_needs([name])
    found: dict[int, list[float]] = {calls: [] for calls in CALLS}
    with tempfile.TemporaryDirectory() as folder, kserve_server(REPOSITORY, [name], program=(PLAIN,)) as server:
        time_to_ready(Target(server.http_url, name), server.started, alive=server.alive)
        requests = record(ALL_MODELS[name], server, Path(folder, "traffic.jsonl")).measured
    order = random.Random(0)
    for _ in range(rounds):
        for calls in order.sample(CALLS, len(CALLS)):
            found[calls].append(round(ratio(name, requests, calls), 3))
    return {
        str(calls): {"median": median(ratios), "worst": max(ratios), "starts": ratios}
        for calls, ratios in found.items()
    }


def main() -> None:
    """Print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["silero_vad", "digits_forest"], choices=list(ALL_MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    models = {}
    for name in options.models:
        models[name] = model(name, options.rounds)
        for calls, row in models[name].items():
            print(f"{name:14} {calls:>3} calls", row, flush=True)
    save("calls_needed", models)


if __name__ == "__main__":
    main()
