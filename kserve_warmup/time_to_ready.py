"""How long a process takes from its start until its model says that it is ready, seen from outside."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.latency import PACE_SECONDS, Target, wait_ready
from kserve_warmup.samples.sample import Protocol
from kserve_warmup.transports.http import Address

KNOCK_SECONDS = 0.02
"""Between two tries whether the port is open."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Seconds from the process's start to ready, and how many seconds less it may have been."""

    seconds: float
    resolution: float


def time_to_ready(
    target: Target,
    started: float,
    *,
    protocol: Protocol = "v2",
    timeout: float = 120.0,
    alive: Callable[[], None] = lambda: None,
    path: str | None = None,
) -> Readiness:
    """Wait until a model is ready, and return how long that took.

    To ask over HTTP warms a server, so that nothing is said until its port opens: only a connection is tried, and given
    up at once. Then the model is asked, and a server that opens its port before it is ready is asked every 0.3 s.

    Args:
        target: the model; its URL is HTTP's.
        started: when the process was started, on the clock of ``time.monotonic()``.
        protocol: whose ready endpoint to ask.
        timeout: seconds after which to give up.
        alive: called again and again; it raises when the process has ended.
        path: what to ask instead of the protocol's own endpoint.

    Raises:
        WarmupFailedError: the model was not ready in time.
    """
    where = Address.parse(target.url)
    deadline = time.monotonic() + timeout
    while not _opens(where):
        alive()
        if time.monotonic() > deadline:
            raise WarmupFailedError(
                f"{target.model} at {target.url} was not ready after {timeout:g} s: its port is shut"
            )
        time.sleep(KNOCK_SECONDS)
    opened = time.monotonic()
    wait_ready(target, protocol, max(1.0, deadline - opened), alive, path)
    ready = time.monotonic()
    return Readiness(ready - started, KNOCK_SECONDS if ready - opened < PACE_SECONDS else PACE_SECONDS)


def _opens(where: Address) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((where.host, where.port), timeout=1):
        return True
    return False
