"""The order of events of a verification: start, wait for ready as a probe does, send, again.

Only one request meets a process that has answered none. So the strata take turns in coming first, the most frequent
one to begin with, and what the first requests of all starts say is judged on its own. A stratum's own first request may
come after others': it tells what is left that only this shape, batch size or protocol pays for.

All requests go at one pace, one stratum after the other and round after round, so that the first request of a stratum
and its later ones had the same kind of pause before them. Unseen strata follow when the others are done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Protocol as Interface
from urllib.parse import urlsplit, urlunsplit

from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import PACE_SECONDS, Latencies, Target, latency_ms, wait_ready, warm_client
from kserve_warmup.protocols.codec import over_grpc
from kserve_warmup.request_headers import NO_HEADERS, RequestHeaders
from kserve_warmup.samples import Sample, SampleSet
from kserve_warmup.samples.sample import Stratum
from kserve_warmup.samples.strata import by_stratum, share
from kserve_warmup.transports.endpoints import NO_PATHS, OwnPaths, ready_path
from kserve_warmup.transports.http import Address
from kserve_warmup.verify.running import Running
from kserve_warmup.verify.verify_result import Start, Verification, judged
from kserve_warmup.views.figures import TIMES

FIRST = "first request of the process"
"""The name of the row that judges what came first in each start."""


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
    them; ``timeout`` seconds until a start has to be ready. ``headers`` go with each request to the server; ``paths``
    are its own, if it has some.
    """

    starts: int = 10
    requests: int = 10
    max_ratio: float = 1.10
    pace: float = PACE_SECONDS
    timeout: float = 300.0
    headers: RequestHeaders = NO_HEADERS
    paths: OwnPaths = NO_PATHS

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if self.starts < 1 or self.requests < LEAST_REQUESTS:
            raise WarmupError(f"give at least one start and {LEAST_REQUESTS} requests: a first one and later ones")
        if not self.max_ratio > 1:
            raise WarmupError(f"--max-ratio {self.max_ratio:g}: a limit lies above 1, such as 1.10")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A stratum of one model, with the requests that take turns."""

    model: str
    stratum: Stratum
    samples: list[Sample]
    unseen: bool = False

    @property
    def name(self) -> str:
        """Return what a person calls it."""
        *words, batch = self.stratum.key
        return f"{self.model}: {' '.join(filter(None, words))} {TIMES} {batch}"


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
    known = _strata(sets)
    names = {one.name for one in known}
    new = [one for one in _strata(unseen, unseen=True) if one.name not in names]
    for protocol in {one.stratum.protocol for one in (*known, *new)}:
        warm_client(protocol)
    seconds = options.starts * options.requests * options.pace * (len(known) + len(new))
    tell(f"{len(known) + len(new)} strata: requests alone take {seconds:.0f} s")
    starts, found = [], []
    for number in range(options.starts):
        turn = number % len(known)
        order = [*known[turn:], *known[:turn]]
        tell(f"start {number + 1} of {options.starts}, first: {order[0].name}")
        with server.start() as running:
            headers = options.headers.read()
            _wait(running, sets, options, headers)
            ready = None if running.started is None else time.monotonic() - running.started
            found.append(_send(running, order, options, headers) | _send(running, new, options, headers))
        starts.append(Start(ready, order[0].name))
    first = [series[start.lead] for start, series in zip(starts, found, strict=True)]
    rows = [(s.name, s.unseen, share(s.samples), [series[s.name] for series in found]) for s in (*known, *new)]
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Verification(
        created,
        str(server),
        options.pace,
        options.max_ratio,
        tuple(starts),
        judged([(FIRST, False, None, first), *rows], options.max_ratio),
    )


def _strata(sets: Iterable[SampleSet], *, unseen: bool = False) -> list[_Asked]:
    """Return the strata of sample sets, the most frequent first."""
    found = [
        _Asked(samples.model, stratum, group, unseen)
        for samples in sets
        for stratum, group in by_stratum(samples).items()
    ]
    return sorted(found, key=lambda one: -share(one.samples))


def _wait(running: Running, sets: Sequence[SampleSet], options: Options, headers: Mapping[str, str]) -> None:
    if running.ready:
        where = urlsplit(running.ready)
        url, path = f"{where.scheme}://{where.netloc}", urlunsplit(("", "", *where[2:4], ""))
        own = running.http_url is not None and Address.parse(url) == Address.parse(running.http_url)
        gate = Target(url, "the gate", headers if own else {})  # what opens this server is nobody else's business
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


def _send(
    running: Running, order: Sequence[_Asked], options: Options, headers: Mapping[str, str]
) -> dict[str, Latencies]:
    """Send each stratum's requests, round after round, and return what each took."""
    taken: dict[str, list[float]] = {one.name: [] for one in order}
    for round_ in range(options.requests):
        for one in order:
            sample = one.samples[round_ % len(one.samples)]
            url = running.grpc_address if over_grpc(sample) else running.http_url
            if url is None:
                raise WarmupError(f"{one.name} needs HTTP, but grpc:// alone was given: name the http:// address")
            target = Target(url, one.model, headers, options.paths.path_for(one.model))
            taken[one.name].append(latency_ms(sample, target, options.pace))
    return {name: Latencies(tuple(latencies)) for name, latencies in taken.items()}
