"""The order of events of a verification: start, wait for ready as a probe does, send, again.

Only one request meets a process that has answered none. So the strata take turns in coming first, the most frequent
one to begin with, and what the first requests of all starts say is judged on its own. A stratum's own first request may
come after others': it tells what is left that only this shape, batch size or protocol pays for.

All requests go at one pace, one stratum after the other and round after round, so that the first request of a stratum
and its later ones had the same kind of pause before them. Unseen strata follow when the others are done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol as Interface
from urllib.parse import urlsplit, urlunsplit

from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import PACE_SECONDS, Latencies, Target, wait_ready, warm_client
from kserve_warmup.protocols.codec import over_grpc
from kserve_warmup.request_headers import NO_HEADERS, RequestHeaders
from kserve_warmup.samples import SampleSet
from kserve_warmup.tls_options import SYSTEM, TlsOptions, with_tls
from kserve_warmup.token_latency import SameLength, per_token_of
from kserve_warmup.transports.endpoints import NO_PATHS, OwnPaths, ready_path
from kserve_warmup.transports.http import Address
from kserve_warmup.verify.asked import Asked, Asking, asked, learn_kinds
from kserve_warmup.verify.running import Running
from kserve_warmup.verify.verify_result import Start, Verification, judged

FIRST = "first request of the process"
"""The name of the row that judges what came first in each start."""


BETWEEN = " by token"
"""Ends the name of the row that judges the time from one token to the next of a stratum's streamed answers."""

LEAST_REQUESTS = 4
"""Of which the later two can be compared with each other."""


class Server(Interface):
    """Something that can be started; see :mod:`kserve_warmup.verify.running`."""

    def start(self) -> AbstractContextManager[Running]:
        """Run the server for as long as the block runs."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to verify.

    ``starts`` fresh processes, ``requests`` to each stratum of each (four at least), ``pace`` seconds before each of
    them; ``timeout`` seconds until a start has to be ready. ``headers`` go with each request to the server, and ``tls``
    is what its connections are made with; ``paths`` are its own, if it has some.
    """

    starts: int = 10
    requests: int = 10
    max_ratio: float = 1.10
    pace: float = PACE_SECONDS
    timeout: float = 300.0
    headers: RequestHeaders = NO_HEADERS
    paths: OwnPaths = NO_PATHS
    tls: TlsOptions = SYSTEM

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.starts < 1 or self.requests < LEAST_REQUESTS:
            raise WarmupError(f"give at least one start and {LEAST_REQUESTS} requests: a first one and later ones")
        if not self.max_ratio > 1:
            raise WarmupError(f"--max-ratio {self.max_ratio:g}: a limit lies above 1, such as 1.10")
        self.tls.check()


def verify(
    server: Server,
    sets: Sequence[SampleSet],
    options: Options,
    unseen: Sequence[SampleSet] = (),
    tell: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Measure fresh starts of ``server`` and judge them; ``tell`` hears how long it takes, and of each start.

    Args:
        server: what to start.
        sets: a sample set for each of its models.
        options: how often, how fast, and the limit.
        unseen: sample sets with strata that the warm-up may not have known; those that ``sets`` have are left out.
        tell: called with one line before the first start, and one before each.

    Raises:
        WarmupFailedError: a start did not become ready, or a request failed.
    """
    known, new = asked(sets, {}, unseen)
    for protocol in {sample.protocol for samples in (*sets, *unseen) for sample in samples}:
        warm_client(protocol)
    seconds = options.starts * options.requests * options.pace * (len(known) + len(new))
    tell(f"{len(known) + len(new)} strata: requests alone take {seconds:.0f} s")
    starts, found = [], []
    for number in range(options.starts):
        turn = number % len(known)
        first = next(iter(known[turn].rows))
        tell(f"start {number + 1} of {options.starts}, first: {first}")
        with server.start() as running, with_tls(options.tls):
            headers = options.headers.read()
            _wait(running, sets, options, headers)
            ready = None if running.started is None else time.monotonic() - running.started
            if not number and options.paths.path is None:
                known, new = asked(sets, learn_kinds((*sets, *unseen), running, headers), unseen)
            order = [*known[turn:], *known[:turn]]
            asking = Asking(running, headers, options.pace, options.timeout, options.paths)
            taken = _send(order, options.requests, asking)
            found.append({**_send(new, options.requests, asking), **taken})
        starts.append(Start(ready, next(iter(order[0].rows))))
    first_ones = [series[start.lead] for start, series in zip(starts, found, strict=True)]
    shares: dict[str, tuple[bool, float]] = {}
    for one in (*known, *new):
        for name, part in one.rows.items():
            shares.setdefault(name, (one.unseen, part))
    rows = [
        (row, *shares[name], [series[row] for series in found])
        for name in shares
        for row in (name, name + BETWEEN)
        if all(row in series for series in found)
    ]
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Verification(
        created,
        str(server),
        options.pace,
        options.max_ratio,
        tuple(starts),
        judged([(FIRST, False, None, first_ones), *rows], options.max_ratio),
    )


def _wait(running: Running, sets: Sequence[SampleSet], options: Options, headers: Mapping[str, str]) -> None:
    if running.ready:
        where = urlsplit(running.ready)
        url, path = f"{where.scheme}://{where.netloc}", urlunsplit(("", "", *where[2:4], ""))
        own = running.http_url is not None and Address.parse(url) == Address.parse(running.http_url)
        gate = Target(url, "the gate", headers if own else {})  # what opens this server is nobody else's business
        with with_tls(options.tls if own else options.tls.of_nobody):
            wait_ready(gate, "v2", options.timeout, running.alive, path or "/")
        return
    for samples in sets:
        if running.http_url:
            path = options.paths.ready_for(samples.model) or ready_path(samples, samples.model)
            target = Target(running.http_url, samples.model, headers)
            wait_ready(target, "v2", options.timeout, running.alive, path)
        if running.http_url is None or any(map(over_grpc, samples)):
            target = Target(str(running.grpc_address), samples.model, headers)
            wait_ready(target, "grpc", options.timeout, running.alive)


def _send(order: Sequence[Asked], requests: int, asking: Asking) -> dict[str, Latencies]:
    """Send what is asked, round after round, and return what each row took."""
    taken: dict[str, list[float]] = {}
    for turn in range(requests):
        for one in order:
            for name, milliseconds in one.latencies(turn, asking).items():
                taken.setdefault(name, []).append(milliseconds)
    return {row: series for name, latencies in taken.items() for row, series in _measures(name, latencies)}


def _measures(name: str, latencies: Sequence[float]) -> Iterator[tuple[str, Latencies]]:
    """Yield the latencies of a stratum, and of streamed answers their times per token, each under its name."""
    length = SameLength()
    yield name, Latencies(tuple([length.compared(latency) for latency in latencies]))
    each = [value for value in map(per_token_of, latencies) if value is not None]
    if len(each) == len(latencies):
        yield name + BETWEEN, Latencies(tuple(each))
