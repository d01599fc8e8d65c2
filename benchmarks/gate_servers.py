"""How slow is the first request to a fresh server of each kind? Cold, and behind the gate; and what the gate costs.

Real servers from PyPI (``tests/servers``). For each server and protocol a cold start and one behind the gate take
turns, so that whatever else the machine does meets both: each is a fresh process, measured as ``kserve_warmup.latency``
says. What the gate adds is the time from the process's start to ready, behind the gate less cold, of one turn.
Run in a checkout after ``make server-envs``: ``python -m benchmarks.gate_servers``; with ``--only NAME`` the rows of
other servers stay as they were measured before, and ``--table`` prints them all.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import FOLDER, save
from kserve_warmup.latency import Target, measure, wait_ready
from kserve_warmup.samples.sample import Sample

TESTS = Path(__file__).parents[1] / "tests"
sys.path += [str(TESTS), str(TESTS / "servers")]

from gate_process import GateProcess  # noqa: E402
from llm_servers import transformers, vllm  # noqa: E402
from python_servers import bentoml, litserve, mlserver, rayserve  # noqa: E402
from real_server import RealServer, Started  # noqa: E402

SERVERS = (
    *(mlserver(0), mlserver(2), litserve(1), litserve(2), bentoml(1), bentoml(2), rayserve(1)),
    *(transformers(), vllm()),
)
"""What is measured, with each of its protocols."""

REQUESTS = 12
NAME = "gate_servers"


def start(server: RealServer, protocol: str, folder: Path, *, gated: bool) -> dict[str, Any]:
    requests: Sequence[Sample] = [server.requests[protocol](1000 + number) for number in range(REQUESTS)]
    place = server.place(folder / "server")
    samples = server.samples(protocol, folder / "samples")
    with contextlib.ExitStack() as stack:
        started = stack.enter_context(Started(server, place))
        if gated:
            options = (*server.options, "--grpc", started.grpc_address)
            gate = stack.enter_context(GateProcess(started.http_url, samples, *options))
            target = Target(f"http://127.0.0.1:{gate.port}", "the gate")
            wait_ready(target, timeout=300, alive=gate.alive, path="/ready")
        else:
            started.wait_ready()
        facts = {"ready_seconds": time.monotonic() - started.started}
        if gated:
            found = json.loads(gate.get("/report")[1])
            facts |= {"calls": gate.state["calls"], "gate_seconds": found["seconds"], "converged": found["converged"]}
        latencies = measure(requests, started.target(requests[0]), REQUESTS)
    return facts | {"ratio": latencies.ratio, "first_ms": latencies.first_ms, "steady_ms": latencies.steady_ms}


def row(server: RealServer, protocol: str, starts: int) -> dict[str, Any]:
    turns = []
    for number in range(starts):
        turn = {}
        for gated in (False, True) if number % 2 == 0 else (True, False):
            with tempfile.TemporaryDirectory() as folder:
                turn["gate" if gated else "cold"] = start(server, protocol, Path(folder), gated=gated)
        turns.append(turn)
    return {
        "server": server.name,
        "version": version(server),
        "protocol": protocol,
        "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "load": os.getloadavg()[0],
        "cold": summary([turn["cold"] for turn in turns]),
        "gate": summary([turn["gate"] for turn in turns]),
        "seconds_added": median(turn["gate"]["ready_seconds"] - turn["cold"]["ready_seconds"] for turn in turns),
        "calls": median(turn["gate"]["calls"] for turn in turns),
        "turns": turns,
    }


def summary(starts: Sequence[dict[str, Any]]) -> dict[str, float]:
    ratios = [one["ratio"] for one in starts]
    middle = {key: median(one[key] for one in starts) for key in ("first_ms", "steady_ms", "ready_seconds")}
    return {"median_ratio": median(ratios), "worst_ratio": max(ratios)} | middle


def version(server: RealServer) -> str:
    asked = f"from importlib.metadata import version; print(version({server.package or server.environment!r}))"
    python = server.installed.parent / "bin" / "python"
    return subprocess.run([python, "-c", asked], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of the servers' names")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--table", action="store_true", help="measure nothing, and print what was")
    options = parser.parse_args()
    file = FOLDER / f"{NAME}.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else {}
    if options.table:
        print(*map(line, rows.values()), sep="\n")
        return
    for server in SERVERS:
        if options.only not in server.name:
            continue
        for protocol in server.requests:
            made = row(server, protocol, options.starts)
            rows[f"{server.name}: {protocol}"] = made
            print(line(made), flush=True)
            save(NAME, {"rows": dict(sorted(rows.items()))})


def line(made: dict[str, Any]) -> str:
    """Return a row of the table in ``docs/servers.md``."""
    cold, gate = made["cold"], made["gate"]
    name, *workers = made["server"].split(", ")
    cells = (
        ", ".join((f"{name} {made['version']}", *workers)),
        made["protocol"],
        f"{cold['first_ms']:,.0f} ms",
        f"{cold['median_ratio']:,.0f} ({cold['worst_ratio']:,.0f})",
        f"**{gate['median_ratio']:.2f}** ({gate['worst_ratio']:.2f})",
        f"{made['seconds_added']:.1f}",
        f"{made['calls']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
