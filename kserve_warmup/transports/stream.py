"""Send samples over Triton's streaming RPC: the only way to a model that answers a request any number of times.

Each request has a stream of its own, whose end is the end of the answers: a server holds it open until the last one is
sent, however many there are, none included. So nothing has to be added to a request to know when it is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import lru_cache
from types import MappingProxyType

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.as_message import as_message
from kserve_warmup.protocols.protobuf_fields import values
from kserve_warmup.replay import RequestFailedError, RequestRefusedError, answered_within
from kserve_warmup.samples.sample import Sample
from kserve_warmup.token_latency import TokenLatency
from kserve_warmup.transports.endpoints import WARMUP_HEADER, infer_message
from kserve_warmup.transports.grpc import GrpcClient
from kserve_warmup.transports.rest import Sent

MODEL_STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"

ERRORS_AS_STATUS = {"triton_grpc_error": "true"}
"""Asks Triton (2.51 does so) to end a stream with an error's own status, which tells a refusal from a fault."""

_KEPT = 16
"""Requests that are kept as messages: to make one takes longer than to send it."""


class StreamTransport:
    """Calls ``model`` on the server at ``address`` (``host:port``) over ``ModelStreamInfer``.

    The latency is the time to the first response, or to the end where there is none; the stream is read to its end all
    the same. v2 requests that were recorded over REST are sent as the messages that ask for the same.
    """

    name = "grpc stream"

    def __init__(
        self, address: str, model: str, timeout: float, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Take where to send; a request counts as never answered whose stream has no end after ``timeout`` seconds."""
        self._model, self._timeout = model, timeout
        self._plain = GrpcClient(address, {**headers, **ERRORS_AS_STATUS})
        self._marked = GrpcClient(address, {**headers, **ERRORS_AS_STATUS, WARMUP_HEADER: "true"})
        self._as_message = lru_cache(maxsize=_KEPT)(as_message)

    async def ready(self) -> None:
        """Wait until there is a connection."""
        await self._marked.connected()

    async def send(self, sample: Sample) -> float:
        """Send ``sample``, marked as a warm-up request, read all responses and return the seconds to the first."""
        message = self._message(sample)
        started = time.perf_counter()
        try:
            first = await answered_within(self._timeout, self._first(message)) - started
        except RequestFailedError as error:
            raise self._explained(error, sample) from error
        return TokenLatency(first)

    async def _first(self, message: bytes) -> float:
        """Return when the first response came, or the end."""
        first = 0.0
        async with aclosing(self._marked.stream(MODEL_STREAM_INFER, message)) as answers:
            async for answer in answers:
                first = first or time.perf_counter()
                _response(answer)
        return first or time.perf_counter()

    def prepared(self, sample: Sample) -> Callable[[], Sent]:
        """Return what sends ``sample`` as a client does, unmarked, on a new connection and without an event loop."""
        message = self._message(sample)

        def send() -> Sent:
            started = time.perf_counter()
            first, body = 0.0, b""
            try:
                for answer in self._plain.stream_now(MODEL_STREAM_INFER, message, self._timeout):
                    response = _response(answer)
                    if not first:
                        first, body = time.perf_counter(), response
            except RequestFailedError as error:
                raise self._explained(error, sample) from error
            return Sent(body, (first or time.perf_counter()) - started)

        return send

    def _message(self, sample: Sample) -> bytes:
        try:
            return infer_message((sample if sample.protocol == "grpc" else self._as_message(sample)).body, self._model)
        except SampleError as error:
            raise RequestFailedError(str(error)) from error

    def _explained(self, error: RequestFailedError, sample: Sample) -> RequestFailedError:
        if sample.protocol == "grpc" or not str(error).startswith("gRPC UNAVAILABLE"):
            return error
        why = f"{self._model} is decoupled, so that its requests go over gRPC's stream, not over HTTP"
        where = f"nothing answers at {self._plain.address}; gate and verify take another port, --grpc HOST:PORT"
        return type(error)(f"{error}; {why}, and {where}")

    async def close(self) -> None:
        """Close the connection."""
        await self._marked.close()


def _response(answer: bytes) -> bytes:
    """Return the ``ModelInferResponse`` in a ``ModelStreamInferResponse``.

    Raises:
        RequestRefusedError: it tells of an error, and that no model was asked: there is nothing in it.
        RequestFailedError: it tells of an error of the model, or is no such message.
    """
    try:
        said, response = b"".join(values(answer, 1)), b"".join(values(answer, 2))
    except SampleError as error:
        raise RequestFailedError(f"a response of the stream cannot be read: {error}") from None
    if said:
        text = " ".join(said.decode(errors="replace").split())[:200]
        raise (RequestFailedError if response else RequestRefusedError)(f"gRPC stream: {text}")
    return response
