"""First against steady, from outside: what the first user of a fresh server meets, and what the later ones do.

The method, which is the same for every server: a client that is itself warm waits for the model's ready endpoint, then
sends real requests with one and the same pause before each, each on a new connection. After a pause any request is
slower than in a tight loop, so only requests with the same pause before them are compared.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import median

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.protocols.inference_path import InferencePath
from kserve_warmup.samples.sample import DEFAULT_PATHS, Protocol, Sample, Signature
from kserve_warmup.transports.endpoints import GRPC_MODEL_READY, GRPC_READY, grpc_name
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch_now
from kserve_warmup.transports.rest import RestTransport, Sent

PACE_SECONDS = 0.3
"""The pause before each request, and the least time between two looks at the ready endpoint."""

KNOCK_SECONDS = 0.02
"""Between two tries whether a port is open."""

CLIENT_WARMUP_REQUESTS = 30

REQUEST_SECONDS = 120.0
"""From before the connection to the answer's last byte; a request that takes longer has failed."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """The latencies of one measurement in milliseconds, in the order sent."""

    latencies_ms: tuple[float, ...]

    @property
    def first_ms(self) -> float:
        """Return the first request's latency: the one that the first user meets."""
        return self.latencies_ms[0]

    @property
    def later_ms(self) -> tuple[float, ...]:
        """Return the later half."""
        return self.latencies_ms[len(self.latencies_ms) // 2 :]

    @property
    def steady_ms(self) -> float:
        """Return the median of the later half."""
        return median(self.later_ms)

    @property
    def ratio(self) -> float:
        """Return first divided by steady; about 1 when the server was warm."""
        return self.first_ms / self.steady_ms


@dataclass(frozen=True, slots=True)
class Readiness:
    """Seconds from the process's start to ready, and how many seconds less it may have been."""

    seconds: float
    resolution: float


@dataclass(frozen=True, slots=True)
class Target:
    """A model on a running server.

    ``url`` is ``http://host:port`` (or https) for v1 and v2, and ``host:port`` or ``grpc://host:port`` for gRPC, whose
    connections are not encrypted. ``headers`` go with each request; their values are shown nowhere. ``path`` is where
    requests go over HTTP, None: to the samples' endpoints.
    """

    url: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: str | None = None


def measure(samples: Sequence[Sample], target: Target, n: int, pace: float = PACE_SECONDS) -> Latencies:
    """Send ``n`` requests to a server that has just become ready, and return how long each took.

    Args:
        samples: what to send, in this order, beginning anew when there are fewer than ``n``.
        target: where to; all samples must be of a protocol that its URL speaks.
        n: how many requests to send.
        pace: seconds to wait before each request, the first one included.

    Raises:
        WarmupFailedError: a request failed; a latency of an error would be no measurement.
        WarmupError: there is nothing to send, or the URL does not fit the protocol.
    """
    if not samples or n < 1:
        msg = "there is nothing to measure with: give at least one sample and one request"
        raise WarmupError(msg)
    for protocol in {s.protocol for s in samples}:
        warm_client(protocol)
    return Latencies(tuple(latency_ms(samples[index % len(samples)], target, pace) for index in range(n)))


def latency_ms(sample: Sample, target: Target, pace: float = PACE_SECONDS) -> float:
    """Wait ``pace`` seconds, send one request and return how long it took in milliseconds.

    A streamed answer counts until its first byte: how long the rest takes depends on what the model has to say.
    """
    send = _prepared(sample, target)
    time.sleep(pace)
    return _one_line_errors(send, target).seconds * 1e3


def wait_ready(
    target: Target,
    protocol: Protocol = "v2",
    timeout: float = 120.0,
    alive: Callable[[], None] | None = None,
    path: str | None = None,
) -> None:
    """Wait until the model's own ready endpoint says so, asking it no more often than every 0.3 s.

    Args:
        target: the model; its URL speaks ``protocol``.
        protocol: whose ready endpoint to ask: v1, v2 or gRPC.
        timeout: seconds after which to give up.
        alive: called before each question; it raises when the server's process has ended.
        path: what to ask over HTTP instead of the protocol's own endpoint.

    Raises:
        WarmupFailedError: the model was not ready in time.
    """
    deadline = time.monotonic() + timeout
    answer = "no answer yet"
    while time.monotonic() < deadline:
        if alive:
            alive()
        try:
            if _is_ready(target, protocol, path, min(REQUEST_SECONDS, deadline - time.monotonic())):
                return
            answer = "not ready"
        except (WarmupFailedError, ConnectionLostError) as error:
            answer = str(error)
        time.sleep(PACE_SECONDS)
    raise WarmupFailedError(f"{target.model} at {target.url} was not ready after {timeout:g} s: {answer}")


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


def send(sample: Sample, target: Target) -> bytes:
    """Send one request on a new connection and return the body of the answer, over HTTP its first MiB.

    Raises:
        WarmupFailedError: the server refused it, is not there, or its answer takes too long or too much room.
    """
    return _one_line_errors(_prepared(sample, target), target).body


def warm_client(protocol: Protocol) -> None:
    """Send some requests to a throwaway server in this process, so that the client's own first call is not measured."""
    nothing = Sample(protocol, b"", Signature(()), 1, DEFAULT_PATHS[protocol])
    with _echo_server(protocol) as url:
        for _ in range(CLIENT_WARMUP_REQUESTS):
            _prepared(nothing, Target(url, "echo"))()


def _one_line_errors(send: Callable[[], Sent], target: Target) -> Sent:
    try:
        return send()
    except WarmupFailedError as error:
        raise WarmupFailedError(f"a request to {target.model} at {target.url} failed: {error}") from error


def _prepared(sample: Sample, target: Target) -> Callable[[], Sent]:
    if sample.protocol != "grpc":
        return RestTransport(target.url, target.model, REQUEST_SECONDS, target.headers, target.path).prepared(sample)
    from kserve_warmup.transports.grpc import GrpcTransport  # which takes a tenth of a second to import

    return GrpcTransport(target.url, target.model, REQUEST_SECONDS, target.headers).prepared(sample)


def _is_ready(target: Target, protocol: Protocol, path: str | None, seconds: float) -> bool:
    if protocol == "grpc" and path is None:
        from kserve_warmup.transports.grpc import GrpcClient

        client = GrpcClient(target.url, target.headers)
        return client.ask_now(GRPC_MODEL_READY, grpc_name(target.model), seconds) == GRPC_READY
    asked = path or InferencePath.parse(DEFAULT_PATHS[protocol], protocol).ready_path(target.model)
    answer = fetch_now(Address.parse(target.url), "GET", asked, target.headers, None, seconds=seconds)
    if answer.refused:
        raise WarmupFailedError(f"HTTP {answer.status}: {answer.text}")
    return answer.ok


@contextlib.contextmanager
def _echo_server(protocol: Protocol) -> Iterator[str]:
    if protocol == "grpc":
        import grpc

        class Echo(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc is untyped
            def service(self, _: object) -> object:
                return grpc.unary_unary_rpc_method_handler(lambda request, _: request)

        server = grpc.server(ThreadPoolExecutor(1), handlers=[Echo()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None)
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_answer_all, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def _answer_all(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it was shut
        while True:
            with listener.accept()[0] as stream:
                stream.recv(1 << 16)
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
