"""Call a KServe model in this process, through the decoding and encoding that a request of each protocol meets."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import queue
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any

import orjson
from kserve import InferRequest, InferResponse, Model
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest, ModelInferResponse
from kserve.protocol.rest.v2_datamodels import InferenceRequest, InferenceResponse

from kserve_warmup.replay import RequestFailedError, describe
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.endpoints import WARMUP_HEADER


class InProcessTransport:
    """Calls ``model`` on the running event loop.

    The path is that of KServe's own endpoints (decode, preprocess, predict, postprocess, encode; v1_endpoints.py:61,
    v2_endpoints.py:132, servicer.py:109 of 0.21) without the routing, which the wire transports warm.
    """

    name = "in_process"

    def __init__(self, model: Model) -> None:
        """Take the model that is to be called."""
        self._model = model
        self._dataplane = DataPlane(model_registry=ModelRepository())

    async def send(self, sample: Sample) -> float:
        """Call the model with ``sample`` and return the seconds that it took."""
        started = time.perf_counter()
        try:
            await self._call(sample)
        except RequestFailedError:
            raise
        except Exception as error:
            raise RequestFailedError(describe(error)) from error
        return time.perf_counter() - started

    async def _call(self, sample: Sample) -> None:
        headers = {**sample.headers, WARMUP_HEADER: "true"}
        request, attributes = self._decode(sample, headers)
        response, _ = await self._model(request, headers=headers)
        check_awaited(response)
        if isinstance(response, AsyncIterator):
            async for _ in response:
                pass
        elif sample.protocol == "grpc":
            if isinstance(response, InferResponse):
                response.to_grpc()
            elif not isinstance(response, ModelInferResponse):
                ModelInferResponse(id=response["id"], model_name=response["model_name"], outputs=response["outputs"])
        else:
            response, _ = self._dataplane.encode(self._model.name, response, headers, attributes)
            if sample.protocol == "v2" and not isinstance(response, bytes):
                InferenceResponse.model_validate(response)
            elif not isinstance(response, bytes | str):
                orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)

    def _decode(self, sample: Sample, headers: dict[str, str]) -> tuple[Any, dict[str, Any]]:
        name = self._model.name
        if sample.protocol == "grpc":
            message = ModelInferRequest.FromString(sample.body)
            message.model_name = name
            return InferRequest.from_grpc(message), {}
        if sample.protocol == "v2":
            body: Any = InferenceRequest.model_validate(orjson.loads(sample.body))
            return self._dataplane.decode(body, headers, "v2", name)  # type: ignore[no-any-return]
        if sample.protocol == "v2-binary":
            return self._dataplane.decode(sample.body, headers, "v2", name)  # type: ignore[no-any-return]
        if sample.protocol == "v1":
            return self._dataplane.decode(sample.body, headers)  # type: ignore[no-any-return]
        raise RequestFailedError(
            f"{sample.protocol} requests do not go through a kserve.Model: send them over the wire"
        )


class ThreadTransport:
    """Calls the model in a thread with a loop of its own, so that a hang can be left behind and replay goes on.

    A Python thread cannot be killed. One that hangs is a daemon: it ends with the process, and the next request gets a
    fresh one.
    """

    name = InProcessTransport.name

    def __init__(self, model: Model) -> None:
        """Take the model that is to be called."""
        self._inner = InProcessTransport(model)
        self._jobs: queue.SimpleQueue[tuple[Sample, Future[float]] | None] | None = None

    async def send(self, sample: Sample) -> float:
        """Call the model with ``sample`` and return the seconds that it took, without the way to the thread."""
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            context = contextvars.copy_context()
            threading.Thread(
                target=context.run, args=(self._work, self._jobs), name="kserve-warmup", daemon=True
            ).start()
        job: Future[float] = Future()
        self._jobs.put((sample, job))
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """Let the thread end once it has finished what it is at."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None

    def _work(self, jobs: queue.SimpleQueue[tuple[Sample, Future[float]] | None]) -> None:
        loop = asyncio.new_event_loop()
        while (job := jobs.get()) is not None:
            sample, future = job
            try:
                result = loop.run_until_complete(self._inner.send(sample))
            except BaseException as error:  # noqa: BLE001 - whatever user code raises belongs to the one who waits
                settle(future, error=error)
            else:
                settle(future, result=result)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def settle(future: Future[float], *, result: float = 0.0, error: BaseException | None = None) -> None:
    """Complete ``future`` unless the one who waited has given up."""
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error if isinstance(error, Exception) else RequestFailedError(describe(error)))
    else:
        future.set_result(result)


def check_awaited(response: object) -> None:
    """Refuse a coroutine given as an answer.

    KServe asks ``inspect.iscoroutinefunction`` alone, so a plain decorator around an async predict returns a coroutine
    that nobody awaits, and a success (model.py:284).
    """
    if inspect.iscoroutine(response):
        response.close()
        raise RequestFailedError("predict returned an un-awaited coroutine: declare it, and its decorators, async")
