"""Call a KServe model in this process and this thread, without an event loop: from ``load()``, before anything serves.

``kserve.Model`` runs a plain ``predict`` on the main thread, and all else on the loop that serves. So a plain one may
run here, and nothing else: the coroutine of a request is stepped by hand. One that runs to its end has been answered
as it will be when served. One that suspends, asks for a loop, or fails has met a surrounding that is not there yet;
what it is worth shows where the model is served.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import orjson
from kserve import InferRequest, InferResponse, Model
from kserve.model import InferenceVerb
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest, ModelInferResponse
from kserve.protocol.rest.v2_datamodels import InferenceRequest, InferenceResponse

from kserve_warmup.protocols.codec import Codec, codec_of
from kserve_warmup.replay import DependencyAwayError, NoAnswerError, NotHereError, describe
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.endpoints import WARMUP_HEADER

T = TypeVar("T")


class SuspendedError(Exception):
    """A coroutine waits for something that only an event loop can bring."""


class LoopNeededError(BaseException):
    """A request asks for an event loop, or wants to make one.

    Not an Exception: code that falls back to a loop of its own when there is none, and keeps it, would be broken for
    users, whose requests meet the loop that serves.
    """


def step(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends to its end, with no event loop to be had.

    Raises:
        SuspendedError: it suspends; it is closed then.
        LoopNeededError: it asks for a loop where it could be given none but a wrong one.
    """
    with _no_event_loop():
        try:
            work.send(None)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        work.close()
    raise SuspendedError


class InProcessTransport:
    """Calls ``model`` by hand, through the decoding and encoding that a request of each protocol meets.

    The path is that of KServe's own endpoints (v1_endpoints.py:61, v2_endpoints.py:132, servicer.py:109 of 0.21)
    without the routing, which the loopback transports warm.
    """

    name = "in_process"

    def __init__(self, model: Model, headers: dict[str, str]) -> None:
        """Take the model that is to be called, and the headers that each request carries beside the sample's own."""
        self._model = model
        self._headers = {**headers, WARMUP_HEADER: "true"}
        self._dataplane = DataPlane(model_registry=ModelRepository())

    async def send(self, sample: Sample) -> float:
        """Call the model with ``sample`` and return the seconds that it took.

        Raises:
            DependencyAwayError: the model hangs: it may wait for what comes with the server.
            NotHereError: anything else that is no answer.
        """
        started = time.perf_counter()
        try:
            step(self._call(sample))
        except NoAnswerError as error:
            raise DependencyAwayError(str(error)) from error
        except (Exception, LoopNeededError) as error:
            raise NotHereError(describe(error)) from error
        return time.perf_counter() - started

    async def _call(self, sample: Sample) -> None:
        headers, codec = {**sample.headers, **self._headers}, codec_of(sample.protocol)
        request, attributes = self._decode(codec, sample.body, headers)
        verb = InferenceVerb.EXPLAIN if sample.verb == "explain" else InferenceVerb.PREDICT
        response, _ = await self._model(request, headers=headers, verb=verb)
        if inspect.iscoroutine(response):
            response.close()
            raise SuspendedError
        if isinstance(response, AsyncIterator):
            async for _ in response:
                pass
        elif codec.over_grpc:
            if isinstance(response, InferResponse):
                response.to_grpc()
            elif not isinstance(response, ModelInferResponse):
                ModelInferResponse(id=response["id"], model_name=response["model_name"], outputs=response["outputs"])
        else:
            response, _ = self._dataplane.encode(self._model.name, response, headers, attributes)
            if codec.is_typed and codec.is_json and not isinstance(response, bytes):
                InferenceResponse.model_validate(response)
            elif not isinstance(response, bytes | str):
                orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)

    def _decode(self, codec: Codec, body: Any, headers: dict[str, str]) -> tuple[Any, dict[str, Any]]:
        name = self._model.name
        if codec.over_grpc:
            message = ModelInferRequest.FromString(body)
            message.model_name = name
            return InferRequest.from_grpc(message), {}
        if codec.is_typed and codec.is_json:
            body = InferenceRequest.model_validate(orjson.loads(body))
        typed = ("v2", name) if codec.is_typed else ()
        return self._dataplane.decode(body, headers, *typed)  # type: ignore[no-any-return]


class _NoLoopPolicy(asyncio.AbstractEventLoopPolicy):
    """The real policy, but without a loop for this thread: one made up here would not be the one that serves."""

    def __init__(self, real: asyncio.AbstractEventLoopPolicy) -> None:
        self._real, self._thread = real, threading.get_ident()

    def get_event_loop(self) -> asyncio.AbstractEventLoop:
        self._only_elsewhere()
        return self._real.get_event_loop()

    def set_event_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        self._only_elsewhere()
        self._real.set_event_loop(loop)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        self._only_elsewhere()
        return self._real.new_event_loop()

    def _only_elsewhere(self) -> None:
        if threading.get_ident() == self._thread:
            raise LoopNeededError("there is no event loop before the server runs")

    def get_child_watcher(self) -> Any:
        return self._real.get_child_watcher()

    def set_child_watcher(self, watcher: Any) -> None:
        self._real.set_child_watcher(watcher)


@contextmanager
def _no_event_loop() -> Iterator[None]:
    real = asyncio.get_event_loop_policy()
    asyncio.set_event_loop_policy(_NoLoopPolicy(real))
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(real)
