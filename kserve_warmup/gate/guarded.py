"""The server behind the gate: is it ready, has it gone, and is it still the one that was warmed?

A new start is seen by the connection that the gate holds open: it ends with the process that held the other end. What
else the server tells is compared where it is told: the models' metadata, how long the process runs (``/metrics`` of
Python servers), and Triton's counters, which begin anew when a model is loaded anew.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import gt
from typing import Any, TypeVar

import orjson

from kserve_warmup.errors import SampleError, WarmupError
from kserve_warmup.gate.gate_plan import ModelSamples
from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.replay import NoAnswerError, RequestFailedError
from kserve_warmup.request_headers import NO_HEADERS, RequestHeaders
from kserve_warmup.transports.endpoints import (
    GRPC_MODEL_READY,
    GRPC_READY,
    NO_PATHS,
    OwnPaths,
    grpc_name,
    ready_path,
)
from kserve_warmup.transports.http import Answer, Connection, ConnectionLostError

T = TypeVar("T")

HEALTH_TIMEOUT = 5.0
"""Seconds that a health question may take; a server that needs longer is taken for hung."""

LOOK_SECONDS = 1.0
"""Between two health questions."""

NOBODY_THERE = "the server does not answer"

_STARTED = re.compile(rb"^process_start_time_seconds (\S+)", re.MULTILINE)


class ServerGoneError(Exception):
    """The server is not there, not ready, or not the one that it was; the message says which, in one line.

    ``reason`` is what anybody may know of it; ``said``, which may quote the server, is for the log.
    """

    def __init__(self, reason: str, said: str = "") -> None:
        """Take both parts of the message."""
        super().__init__(f"{reason}: {said}" if said else reason)
        self.reason, self.said = reason, said


class ServerHungError(ServerGoneError):
    """The server gives no answer."""


def read_headers(headers: RequestHeaders) -> dict[str, str]:
    """Return names and values, those in files read anew: they are renewed while the gate runs.

    Raises:
        ServerGoneError: a file cannot be read at the moment, so that nothing can be asked.
    """
    try:
        return headers.read()
    except WarmupError as error:
        raise ServerGoneError("a header cannot be read", str(error)) from None


@dataclass(frozen=True, slots=True)
class Marks:
    """What tells one start of a server from another; empty where it does not tell, or did not this time.

    ``metadata`` of each model, ``counts`` of the inferences of each one's versions (Triton), ``started``: the
    process's start time.
    """

    metadata: tuple[bytes, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()
    started: bytes = b""

    def differ(self, later: Marks) -> bool:
        """Return whether ``later`` was certainly read from another start: counters of one start never go down."""
        counted = _known(self.counts, later.counts)
        if any(len(before) != len(after) or any(map(gt, before, after)) for before, after in counted):
            return True
        told = (*_known(self.metadata, later.metadata), *_known((self.started,), (later.started,)))
        return any(before != after for before, after in told)

    def same_start(self, later: Marks) -> bool:
        """Return whether ``later`` was certainly read from the same start."""
        told = (*_known(self.counts, later.counts), *_known((self.started,), (later.started,)))
        return bool(told) and not self.differ(later)

    def then(self, later: Marks) -> Marks:
        """Return what is known once ``later`` was read from the same start: an answer that failed tells nothing."""
        return Marks(
            tuple(after or before for before, after in zip(self.metadata, later.metadata, strict=True)),
            tuple(after or before for before, after in zip(self.counts, later.counts, strict=True)),
            later.started or self.started,
        )


def _known(before: Iterable[T], after: Iterable[T]) -> list[tuple[T, T]]:
    """Return the pairs of which both are told."""
    return [(old, new) for old, new in zip(before, after, strict=True) if old and new]


@dataclass
class Server(ABC):
    """A server, seen over one connection that is held open from question to question.

    ``address`` is what its kind of connection takes. ``headers`` go with each question; ``paths`` are the server's
    own, if it has some; ``connections`` counts how often the connection had to be made.
    """

    address: Any
    sets: Sequence[ModelSamples]
    headers: RequestHeaders = NO_HEADERS
    paths: OwnPaths = NO_PATHS
    connections: int = 0
    _connection: Any = field(default=None, repr=False)

    @abstractmethod
    async def check_ready(self) -> None:
        """Ask each model's own readiness.

        Raises:
            ServerGoneError: one of them is not ready; the connection is given up when it broke.
        """

    async def marks(self) -> Marks:
        """Read what tells this start from another."""
        return Marks()

    async def counts(self) -> tuple[tuple[int, ...], ...]:
        """Read what of it is cheap enough to be read every second."""
        return ()

    async def stays(self, seconds: float = LOOK_SECONDS) -> bool:
        """Wait, and return False as soon as the server drops the connection without having said so before."""
        if self._connection is None:
            await asyncio.sleep(seconds)
            return True
        if await self._connection.stays_open(seconds):
            return True
        self.drop()
        return False

    def drop(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class HttpServer(Server):
    """A server that speaks HTTP, and perhaps gRPC beside it."""

    async def check_ready(self) -> None:
        """Ask each model's own ready endpoint."""
        for samples in self.sets:
            own = self.paths.ready_for(samples.model)
            answer = await self._ask(own or ready_path(samples, samples.model))
            if not answer.ok:
                raise await self._why_not(samples.model, answer)

    async def marks(self) -> Marks:
        """Read metadata, counters and the time of the start."""
        answers = [await self._ask_model(samples.model) for samples in self.sets]
        metadata = tuple(answer.body if answer and answer.ok else b"" for answer in answers)
        counts = await self.counts()
        answer = await self._ask("/metrics")
        found = _STARTED.search(answer.body) if answer.ok else None
        return Marks(metadata, counts, found[1] if found else b"")

    async def counts(self) -> tuple[tuple[int, ...], ...]:
        """Read Triton's counters alone."""
        return tuple([_counts(await self._ask_model(samples.model, "/stats")) for samples in self.sets])

    async def _ask_model(self, model: str, what: str = "") -> Answer | None:
        """Ask something of a model; None: its name has no place in a path, or the server no such API."""
        if self.paths.path:
            return None
        try:
            path = f"/v2/models/{url_name(model)}{what}"
        except SampleError:
            return None
        return await self._ask(path)

    async def _ask(self, path: str) -> Answer:
        try:
            return await asyncio.wait_for(self._get(path), HEALTH_TIMEOUT)
        except (asyncio.TimeoutError, TimeoutError):
            self.drop()
            said = f"{self.address} to {path} within {HEALTH_TIMEOUT:g} s"
            raise ServerHungError("the server gives no answer", said) from None
        except ConnectionLostError as error:
            self.drop()
            raise ServerGoneError(NOBODY_THERE, str(error)) from error

    async def _get(self, path: str) -> Answer:
        if self._connection is not None:
            try:
                return await self._request(self._connection, path)
            except ConnectionLostError:
                self.drop()  # closed for being idle, perhaps: only a new connection can tell
        self._connection = await Connection.open(self.address, read_headers(self.headers))
        self.connections += 1
        return await self._request(self._connection, path)

    async def _request(self, connection: Connection, path: str) -> Answer:
        headers = read_headers(self.headers)
        try:
            answer = await connection.request("GET", path, headers)
        except asyncio.CancelledError:
            self.drop()  # half an answer is on its way
            raise
        if not connection.reuse():
            self.drop()
        return answer

    async def _why_not(self, model: str, answer: Answer) -> ServerGoneError:
        if answer.status != 404 or self.paths.ready:  # noqa: PLR2004
            return ServerGoneError(f"{model} is not ready", f"HTTP {answer.status} {answer.text}".strip())
        found = await self._ask("/v1/models")
        names = _names(found) if found.ok else ""
        said = f"{self.address} has {names}" if names else answer.text
        return ServerGoneError(f"the server has no model {model!r}", said)


class GrpcServer(Server):
    """A server of gRPC alone; it tells nothing by which its starts could be told apart."""

    async def check_ready(self) -> None:
        """Ask each model's own readiness."""
        for samples in self.sets:
            headers = read_headers(self.headers)
            if self._connection is None:
                from kserve_warmup.transports.grpc import GrpcClient  # ten megabytes

                self._connection = GrpcClient(self.address, headers)
                self.connections += 1
            self._connection.carry(headers)
            try:
                answer = await self._connection.ask(GRPC_MODEL_READY, grpc_name(samples.model), HEALTH_TIMEOUT)
            except NoAnswerError as error:
                self.drop()
                raise ServerHungError("the server gives no answer", f"{self.address}: {error}") from error
            except RequestFailedError as error:
                reason = f"{samples.model} is not ready" if self._connection.is_connected else NOBODY_THERE
                self.drop()
                raise ServerGoneError(reason, f"{self.address}: {error}") from error
            if answer != GRPC_READY:
                raise ServerGoneError(f"{samples.model} is not ready", f"{self.address} says so")

    def drop(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._closing = asyncio.ensure_future(self._connection.close())
            self._connection = None


def _counts(answer: Answer | None) -> tuple[int, ...]:
    """Return the inferences of each version of a model, from Triton's statistics; nothing from other servers."""
    if answer is None or not answer.ok:
        return ()
    try:
        found: Any = orjson.loads(answer.body)
        return tuple(int(version["inference_count"]) for version in found["model_stats"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        return ()


def _names(answer: Answer) -> str:
    try:
        found: Any = orjson.loads(answer.body)
        return ", ".join(str(name) for name in found["models"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""
