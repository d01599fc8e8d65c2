"""What does a request cost more through ``gate --proxy`` than straight to the server, and what memory does that take?

A KServe server whose model does next to nothing, and a gate with HAProxy before it. The same request goes to both, one
right after the other, in turns as to who is first; what counts is the difference within each pair. Small HTTP requests,
such with a body of 1 MB, and gRPC; on a connection that is kept, and on a new one each time. Then the server is killed
and started again under load of both protocols, and each request is counted that is not answered as it should be.
Run in a checkout, with haproxy installed: ``python -m benchmarks.gate_proxy``.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import grpc
import kserve
import numpy as np

from benchmarks.results import save
from kserve_warmup import Sample, SampleSet
from kserve_warmup.processes import ServerProcess, free_ports
from kserve_warmup.protocols.bodies import Tensor, encode, request
from kserve_warmup.transports.endpoints import infer_message
from kserve_warmup.transports.grpc import OPTIONS
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch_now

GOAL_MS, GOAL_MB = 0.3, 60
PAIRS = {"small": 600, "1 MB": 200, "gRPC": 600}
WARM_PAIRS = 20
RESTARTS, USERS, AFTER_SECONDS, PAUSE_SECONDS = 3, 4, 2.0, 0.005
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Sum(kserve.Model):
    """Adds up what it is sent."""

    def predict(self, payload: Any, headers: dict[str, str] | None = None) -> Any:  # noqa: ARG002  (KServe's name)
        total = np.array([payload.inputs[0].as_numpy().sum()], dtype=np.float32)
        output = kserve.InferOutput("y", [1], "FP32")
        output.set_data_from_numpy(total, binary_data=False)
        return kserve.InferResponse("1", self.name, [output])


def made(values: int, protocol: Any) -> Sample:
    body, headers = encode(protocol, [Tensor("x", "FP32", np.ones((1, values), dtype=np.float32))])
    return request(protocol, body, headers=headers)


def samples() -> dict[str, Sample]:
    return {"small": made(4, "v2"), "1 MB": made(1 << 18, "v2-binary"), "gRPC": made(4, "grpc")}


class HttpClient:
    """Sends one request to one port, on a connection that is kept or on a new one."""

    def __init__(self, port: int, sample: Sample, *, keep: bool) -> None:
        self._port, self._sample, self._keep = port, sample, keep
        self._connection: http.client.HTTPConnection | None = None

    def send(self) -> None:
        connection = self._connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        self._connection = None
        connection.request("POST", self._sample.path_for("sum"), self._sample.body, dict(self._sample.headers))
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise RuntimeError(f"HTTP {answer.status} {content[:100]!r}")
        if self._keep:
            self._connection = connection
        else:
            connection.close()


class GrpcClient:
    """Sends one message to one port, on a connection that is kept or on a new one."""

    def __init__(self, port: int, sample: Sample, *, keep: bool) -> None:
        self._port, self._keep = port, keep
        self._message = infer_message(sample.body, "sum")
        self._channel = self._connect()

    def _connect(self) -> grpc.Channel:
        return grpc.insecure_channel(f"127.0.0.1:{self._port}", OPTIONS)

    def send(self) -> None:
        channel = self._channel if self._keep else self._connect()
        channel.unary_unary(INFER)(self._message, timeout=120, wait_for_ready=True)
        if not self._keep:
            channel.close()


def client(kind: str, port: int, *, keep: bool) -> HttpClient | GrpcClient:
    return (GrpcClient if kind == "gRPC" else HttpClient)(port, samples()[kind], keep=keep)


def timed(send: Callable[[], None]) -> float:
    begin = time.perf_counter()
    send()
    return (time.perf_counter() - begin) * 1e3


def on_processor(pid: int) -> float:
    """Return the seconds that a process of one thread has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def pairs(kind: str, direct: int, proxied: int, haproxy: int, *, keep: bool, scale: float) -> dict[str, Any]:
    """Return the latencies' medians and those of the differences in ms, and HAProxy's processor time a request."""
    ways = [client(kind, port, keep=keep) for port in (direct, proxied)]
    found = []
    count = max(10, round(PAIRS[kind] * scale))
    for number in range(WARM_PAIRS + count):
        if number == WARM_PAIRS:
            begin = on_processor(haproxy)
        order = (0, 1) if number % 2 else (1, 0)
        took = {way: timed(ways[way].send) for way in order}
        found.append((took[0], took[1]))
    spent = on_processor(haproxy) - begin
    found = found[WARM_PAIRS:]
    added = [after - before for before, after in found]
    quarters = quantiles(added, n=4)
    return {
        "pairs": count,
        "direct_ms": median(before for before, _ in found),
        "proxied_ms": median(after for _, after in found),
        "added_ms": median(added),
        "haproxy_processor_ms": spent / count * 1e3,
        "added_quartiles_ms": [quarters[0], quarters[2]],
    }


def memory(pids: list[int]) -> dict[str, float]:
    """Return proportional and resident memory of processes together, and what is theirs alone, in MB of 10^6 bytes."""
    total = {"pss_mb": 0.0, "rss_mb": 0.0, "anonymous_mb": 0.0}
    for pid in pids:
        lines = dict(
            line.split(":") for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if " kB" in line
        )
        for name, key in (("Pss", "pss_mb"), ("Rss", "rss_mb"), ("Anonymous", "anonymous_mb")):
            total[key] += int(lines[name].split()[0]) * 1024 / 1e6
    return total


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def gated(ports: list[int]) -> Iterator[tuple[ServerProcess, int, int]]:
    """Yield a gate before the server's ports, its own port and that for users."""
    own, users = free_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        chosen = tuple(sample.with_weight(0.5) for kind, sample in samples().items() if kind != "1 MB")
        made_set = SampleSet(
            model="sum", source="made up", created="2026-01-01T00:00:00Z", selection={}, coverage=1.0, samples=chosen
        )
        made_set.save(Path(folder, "samples"))
        command = [sys.executable, "-m", "kserve_warmup", "gate", f"http://127.0.0.1:{ports[0]}"]
        command += ["--grpc", f"127.0.0.1:{ports[1]}", "--samples", str(Path(folder, "samples"))]
        with ServerProcess([*command, "--port", str(own), "--proxy", str(users)]) as gate:
            yield gate, own, users


def server(ports: list[int]) -> ServerProcess:
    command = [sys.executable, "-m", "benchmarks.gate_proxy", "--serve"]
    return ServerProcess([*command, "--http_port", str(ports[0]), "--grpc_port", str(ports[1])])


def wait_warm(gate: ServerProcess, own: int, warmups: int) -> None:
    while True:
        gate.alive()
        with contextlib.suppress(ConnectionLostError):
            state = json.loads(fetch_now(Address("127.0.0.1", own), "GET", "/ready", {}, None, seconds=10).body)
            if state["ready"] and state["warmups"] == warmups:
                return
        time.sleep(0.05)


def restarts(gate: ServerProcess, own: int, users: int, ports: list[int], running: ServerProcess) -> dict[str, Any]:
    """Kill the server and start it again, under load; return how many requests there were and what became of them."""
    stopped, answered, lost, cut, longest = threading.Event(), [], [], [], []

    def user(kind: str) -> None:
        mine = client(kind, users, keep=True)
        while not stopped.wait(PAUSE_SECONDS):
            try:
                longest.append(timed(mine.send))
                answered.append(kind)
            except http.client.IncompleteRead as error:  # noqa: PERF203  (killed between its answer's head and body)
                cut.append(f"{kind}: {error!r}")
            except Exception as error:  # noqa: BLE001  (whatever it is, the request is lost)
                lost.append(f"{kind}: {error!r}")

    threads = [threading.Thread(target=user, args=(kind,)) for kind in ("small", "gRPC") for _ in range(USERS)]
    for thread in threads:
        thread.start()
    time.sleep(AFTER_SECONDS)
    for number in range(RESTARTS):
        running.process.kill()
        running.stop()
        running = server(ports).__enter__()
        wait_warm(gate, own, 2 + number)
        time.sleep(AFTER_SECONDS)
    stopped.set()
    for thread in threads:
        thread.join()
    running.stop()
    by_kind = {kind: answered.count(kind) for kind in ("small", "gRPC")}
    found = {"restarts": RESTARTS, "answered": by_kind, "lost": lost, "cut_within_the_answer": cut}
    return found | {"longest_seconds": max(longest) / 1e3}


def serve() -> None:
    sys.argv.remove("--serve")
    model = Sum("sum")
    model.ready = True
    kserve.ModelServer(workers=1).start([model])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of pairs")
    scale = parser.parse_args().scale
    ports = free_ports(2)
    running = server(ports).__enter__()
    try:
        with gated(ports) as (gate, own, users):
            wait_warm(gate, own, 1)
            time.sleep(0.5)
            (haproxy,) = children(gate.pid)
            cases = {
                f"{kind}, {'kept' if keep else 'new'} connection": pairs(
                    kind, ports[1] if kind == "gRPC" else ports[0], users, haproxy, keep=keep, scale=scale
                )
                for kind in PAIRS
                for keep in (True, False)
            }
            restarted = restarts(gate, own, users, ports, running)
            used = memory([gate.pid, *children(gate.pid)])
    finally:
        running.stop()
    for name, case in cases.items():
        sys.stdout.write(
            f"{name}: {case['direct_ms']:.2f} ms straight, {case['added_ms']:+.3f} ms through the gate, "
            f"{case['haproxy_processor_ms']:.3f} ms of HAProxy's processor time\n"
        )
    lost = len(restarted["lost"])
    sys.stdout.write(f"{restarted['restarts']} restarts: {restarted['answered']} answered, {lost} lost\n")
    goals = {"goal_ms": GOAL_MS, "goal_mb": GOAL_MB}
    save(
        "gate_proxy", {**goals, "cases": cases, "restarts_under_load": restarted, "memory": used, **used, "lost": lost}
    )


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve()
    else:
        main()
