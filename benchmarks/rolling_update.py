"""What do users meet while a replica is replaced? Rolling updates behind HAProxy, under constant load, warm and cold.

A replica in a container serves the example's model behind a load balancer that asks the model's ready endpoint. Its
successor starts, becomes ready, takes over; the old one is drained and stopped. Updates to a replica with warm-up, to
one whose image was baked too, and to one with neither take turns, so that whatever else the machine does meets all
alike. Each replica has a core of its own,
as in a cluster that reserves one. Run in a checkout, after ``make images``: ``python -m benchmarks.rolling_update``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from typing_extensions import Self

from benchmarks.results import save
from kserve_warmup.demo.recordings import digit_requests
from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.latency import Target, send, warm_client
from kserve_warmup.processes import ServerProcess, free_ports

IMAGE, BAKED_IMAGE, MODEL = "kserve-warmup/digits-knn", "kserve-warmup/digits-knn-baked", "digits_knn"
Start = Callable[[int, int], Any]
"""Starts a container of the Docker SDK, given a port of this machine and the number of a core."""

CLIENTS, PACE_SECONDS = 4, 0.1
STEADY_SECONDS, AFTER_SECONDS, DRAIN_SECONDS = 2.0, 1.0, 0.5
WAITED_SECONDS = 2 * AFTER_SECONDS + DRAIN_SECONDS
READY_SECONDS = 120
LEAST_ANSWERS = 2 * CLIENTS
GRACE_SECONDS = 20

CONFIG = """
global
  stats socket {folder}/admin level admin
defaults
  mode http
  timeout connect 1s
  timeout client 30s
  timeout server 30s
  timeout check 5s
  option redispatch
frontend users
  bind 127.0.0.1:{port}
  default_backend replicas
backend replicas
  option httpchk GET /v2/models/{model}/ready
  http-check expect status 200
  default-server check inter 100ms rise 1 fall 2
  server slot0 127.0.0.1:{slots[0]}
  server slot1 127.0.0.1:{slots[1]}
"""


class Replica:
    """What serves on one of the load balancer's two slots: made by a function that is given the port and the core."""

    def __init__(self, start: Start, slot: int, port: int) -> None:
        """Start it."""
        cores = sorted(os.sched_getaffinity(0))
        self.slot = slot
        self.container = start(port, cores[slot % len(cores)])

    def stop(self) -> None:
        """Stop it as a cluster does."""
        self.container.stop(timeout=GRACE_SECONDS)

    def remove(self) -> None:
        """Remove it, whatever it is doing."""
        self.container.remove(force=True, v=True)


@dataclass(frozen=True, slots=True)
class LoadBalancer:
    """A running HAProxy: where users connect, the ports of its slots, and its admin socket."""

    url: str
    slots: tuple[int, int]
    admin: str

    def command(self, line: str) -> str:
        """Send one line to the admin socket and return the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.admin)
            connection.sendall(f"{line}\n".encode())
            return b"".join(iter(lambda: connection.recv(4096), b"")).decode()

    def up(self, slot: int) -> bool:
        """Return whether the health check lets requests through to a slot."""
        rows = [line.split(",") for line in self.command("show stat").splitlines()]
        status = rows[0].index("status")
        return any(row[1] == f"slot{slot}" and row[status].startswith("UP") for row in rows[1:] if len(row) > status)

    def wait(self, slot: int, *, up: bool) -> None:
        """Wait until a slot is up or is not."""
        deadline = time.monotonic() + READY_SECONDS
        while self.up(slot) is not up:
            if time.monotonic() > deadline:
                raise WarmupFailedError(f"slot {slot} was not {'up' if up else 'down'} after {READY_SECONDS} s")
            time.sleep(0.05)


@contextlib.contextmanager
def haproxy(model: str = MODEL) -> Iterator[LoadBalancer]:
    """Run HAProxy before two slots, whose replicas are asked for the model's ready endpoint."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        raise WarmupError("haproxy is not on PATH: apt-get install haproxy")
    with tempfile.TemporaryDirectory(prefix="kserve-warmup-") as folder:
        port, *slots = free_ports(3)
        config = Path(folder, "haproxy.cfg")
        config.write_text(CONFIG.format(folder=folder, port=port, slots=slots, model=model))
        with ServerProcess([program, "-db", "-q", "-f", str(config)]) as process:
            balancer = LoadBalancer(f"http://127.0.0.1:{port}", (slots[0], slots[1]), f"{folder}/admin")
            while not Path(balancer.admin).exists():
                process.alive()
                time.sleep(0.05)
            yield balancer


@dataclass(frozen=True, slots=True)
class Answer:
    """One request: when it was sent, on the clock of ``time.monotonic()``; how long it took; what came back."""

    at: float
    ms: float
    body: bytes | None


class Traffic:
    """Users who each send a request every tenth of a second, on a new connection, for as long as the block runs."""

    def __init__(self, url: str, model: str = MODEL) -> None:
        """Take the address; nothing is sent before the ``with`` block."""
        self._target = Target(url, model)
        self.answers: list[Answer] = []
        self._stopped = threading.Event()
        self._users = [threading.Thread(target=self._user, args=(i,), daemon=True) for i in range(CLIENTS)]

    def _user(self, number: int) -> None:
        (request,) = digit_requests("v2", (1,), number * 10)
        due = time.monotonic() + number * PACE_SECONDS / CLIENTS
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            begin = time.monotonic()
            try:
                body: bytes | None = send(request, self._target)
            except WarmupFailedError:
                body = None
            self.answers.append(Answer(begin, (time.monotonic() - begin) * 1000, body))
            due = max(due + PACE_SECONDS, time.monotonic())

    def between(self, begin: float, end: float) -> list[Answer]:
        """Return what was sent in a span of time."""
        return [answer for answer in self.answers if begin <= answer.at < end]

    def flow(self, seconds: float) -> None:
        """Let ``seconds`` go by, and more on a busy machine, until some more requests were answered."""
        begin, end = time.monotonic(), time.monotonic() + seconds
        while (now := time.monotonic()) < end or len(self.between(begin, now)) < LEAST_ANSWERS:
            if now > end + READY_SECONDS:
                raise WarmupFailedError(f"fewer than {LEAST_ANSWERS} requests were answered within {READY_SECONDS} s")
            time.sleep(PACE_SECONDS / 4)

    def __enter__(self) -> Self:
        """Let the users come."""
        warm_client("v2")
        for user in self._users:
            user.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the last answers."""
        self._stopped.set()
        for user in self._users:
            user.join()


@dataclass(frozen=True, slots=True)
class Update:
    """One rolling update: the worst latency within it, the median and the worst just before, and how it went.

    ``ready_seconds`` go from the container's start until the load balancer lets requests through, ``seconds`` until the
    old replica is gone; what the benchmark itself waits for steady figures is part of them, ``WAITED_SECONDS``.
    """

    kind: str
    worst_ms: float
    steady_ms: float
    steady_worst_ms: float
    requests: int
    failed: int
    seconds: float
    ready_seconds: float

    @property
    def excess_ms(self) -> float:
        """Return by how much the worst request exceeds the steady state."""
        return self.worst_ms - self.steady_ms


def roll(
    balancer: LoadBalancer, traffic: Traffic, old: Replica, begin: Callable[[str, int], Replica], kind: str
) -> tuple[Replica, Update]:
    """Replace ``old`` by a replica of ``kind``; return that and the update's figures."""
    steady_from = time.monotonic()
    traffic.flow(STEADY_SECONDS)
    started = time.monotonic()
    new = begin(kind, 1 - old.slot)
    balancer.wait(new.slot, up=True)
    ready = time.monotonic()
    traffic.flow(AFTER_SECONDS)
    balancer.command(f"set server replicas/slot{old.slot} state drain")
    time.sleep(DRAIN_SECONDS)
    old.stop()
    balancer.wait(old.slot, up=False)
    balancer.command(f"set server replicas/slot{old.slot} state ready")
    traffic.flow(AFTER_SECONDS)  # to the new replica alone
    ended = time.monotonic()
    before = [answer.ms for answer in traffic.between(steady_from, started)]
    within = traffic.between(started, ended)
    return new, Update(
        kind=kind,
        worst_ms=max(answer.ms for answer in within),
        steady_ms=median(before),
        steady_worst_ms=max(before),
        requests=len(within),
        failed=sum(answer.body is None for answer in within),
        seconds=ended - started,
        ready_seconds=ready - started,
    )


def updates(starts: dict[str, Start], count: int) -> tuple[list[Update], Traffic]:
    """Roll ``count`` times to each kind of replica, in turns; return the updates and all traffic."""
    done = []
    with haproxy() as balancer, contextlib.ExitStack() as stack:

        def begin(kind: str, slot: int) -> Replica:
            replica = Replica(starts[kind], slot, balancer.slots[slot])
            stack.callback(replica.remove)
            return replica

        replica = begin(next(iter(starts)), 0)
        balancer.wait(0, up=True)
        balancer.wait(1, up=False)
        with Traffic(balancer.url) as traffic:
            for _ in range(count):
                for kind in starts:
                    replica, update = roll(balancer, traffic, replica, begin, kind)
                    done.append(update)
    return done, traffic


def summary(done: Sequence[Update], kind: str) -> dict[str, Any]:
    """Return the figures of one kind's updates."""
    mine = [update for update in done if update.kind == kind]
    return {
        "median_worst_ms": median(update.worst_ms for update in mine),
        "median_excess_ms": median(update.excess_ms for update in mine),
        "highest_excess_ms": max(update.excess_ms for update in mine),
        "steady_ms": median(update.steady_ms for update in mine),
        "median_steady_worst_ms": median(update.steady_worst_ms for update in mine),
        "median_ready_seconds": median(update.ready_seconds for update in mine),
        "median_seconds": median(update.seconds for update in mine),
        "requests": sum(update.requests for update in mine),
        "failed": sum(update.failed for update in mine),
        "updates": [asdict(update) for update in mine],
    }


def kinds_of(done: Sequence[Update]) -> list[str]:
    """Return the kinds of replicas, in their order."""
    return list(dict.fromkeys(update.kind for update in done))


def lines(done: Sequence[Update]) -> list[str]:
    """Return the comparison for people."""
    figures = {kind: summary(done, kind) for kind in kinds_of(done)}
    text = [
        f"rolling updates {kind}: worst request {s['median_worst_ms']:.0f} ms (median of {len(s['updates'])}), steady "
        f"{s['steady_ms']:.1f} ms, worst of {STEADY_SECONDS:g} s without one {s['median_steady_worst_ms']:.1f} ms, "
        f"failed {s['failed']} of {s['requests']}; ready after {s['median_ready_seconds']:.1f} s, done after "
        f"{s['median_seconds']:.1f} s, {WAITED_SECONDS:g} s of which are the benchmark's own"
        for kind, s in figures.items()
    ]
    cold = figures["cold"]["median_excess_ms"]
    return text + [
        f"excess over steady state, {kind}: {s['median_excess_ms']:.1f} instead of {cold:.0f} ms: "
        f"{reduction(done, kind):.2%} less"
        for kind, s in figures.items()
        if kind != "cold"
    ]


def reduction(done: Sequence[Update], kind: str = "warm") -> float:
    """Return the share of a cold replica's excess latency that one of ``kind`` spares, between the medians of both."""
    return float(1 - summary(done, kind)["median_excess_ms"] / summary(done, "cold")["median_excess_ms"])


def starts(client: Any) -> dict[str, Start]:
    """Return what starts a replica of the example, with warm-up, with what was baked too, and with neither."""

    def start(port: int, core: int, environment: dict[str, str], image: str = IMAGE) -> Any:
        return client.containers.run(
            image,
            ["predictor:Predictor", f"--model_name={MODEL}"],
            detach=True,
            read_only=True,
            tmpfs={"/tmp": ""},
            cpuset_cpus=str(core),
            labels={"kserve-warmup": "test"},
            ports={"8080/tcp": ("127.0.0.1", port)},
            environment=environment,
        )

    return {
        "warm": lambda port, core: start(port, core, {}),
        "baked": lambda port, core: start(port, core, {"KSERVE_WARMUP_CACHE": "require"}, BAKED_IMAGE),
        "cold": lambda port, core: start(port, core, {"KSERVE_WARMUP_ENABLED": "false"}),
    }


def main() -> None:
    import docker

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10, help="of each kind")
    options = parser.parse_args()
    done, _ = updates(starts(docker.from_env()), options.updates)
    print("\n".join(lines(done)), flush=True)
    spared = {"reduction": reduction(done), "reduction_baked": reduction(done, "baked")}
    save("rolling_update", spared | {kind: summary(done, kind) for kind in kinds_of(done)})


if __name__ == "__main__":
    main()
