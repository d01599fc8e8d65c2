"""Where requests pass on their way into KServe: raw bodies are handed to the recorders, over REST and over gRPC."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from kserve_warmup.capture.capturing import Capture
from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import LENGTH_HEADER
from kserve_warmup.protocols.inference_path import MODEL_INFER
from kserve_warmup.samples.sample import Protocol
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.transports.endpoints import WARMUP_HEADER

if TYPE_CHECKING:
    from kserve_warmup.capture.recorder import Recorder


_MARK = (WARMUP_HEADER.encode(), b"true")
_HTTP_OK = range(200, 300)
_VERBS = {"/v1/models/": ":predict", "/v2/models/": "/infer"}


class WiretapMiddleware:
    """ASGI: records the requests for predictions that were answered with success, but no warm-up requests."""

    def __init__(self, app: Any, capture: Capture) -> None:
        self._app = app
        self._capture = capture

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, and record it if it is drawn."""
        recorder = self._recorder(scope)
        if recorder is None or not recorder.wanted() or _MARK in scope["headers"]:
            await self._app(scope, receive, send)
            return
        chunks: list[bytes] = []
        status = 0

        async def receiving() -> Any:
            message = await receive()
            if body := message.get("body"):
                chunks.append(body)
            return message

        async def sending(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        await self._app(scope, receiving, sending)
        if status in _HTTP_OK:
            recorder.offer_later(
                sum(map(len, chunks)), partial(_record, scope["path"], scope["headers"], chunks, time.time())
            )

    def _recorder(self, scope: Any) -> Recorder | None:
        if scope["type"] != "http":
            return None
        verb = _VERBS.get(scope["path"][: len("/v1/models/")])
        if verb is None or not scope["path"].endswith(verb):
            return None  # KServe answers v2 paths with a version with 501
        return self._capture.get(scope["path"][len("/v1/models/") : -len(verb)])


def _record(path: str, raw: Iterable[tuple[bytes, bytes]], chunks: list[bytes], taken: float) -> Record:
    """Return what came over REST; run by the recorder's thread."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    if "content-encoding" in headers:
        raise SampleError("a compressed request is not recorded: the model has not seen it as it came")
    protocol: Protocol = "v1" if path.startswith("/v1") else "v2"
    if LENGTH_HEADER in headers:
        protocol = "v2-binary"
    return Record("", 0, b"".join(chunks), headers, path, protocol, 200, taken)


def tapped(handler: Any, details: Any, capture: Capture) -> Any:
    """Return a gRPC method's handler that records requests as they come off the wire, before protobuf reads them."""
    if details.method != MODEL_INFER or any(name == WARMUP_HEADER for name, _ in details.invocation_metadata or ()):
        return handler
    raw = b""

    def deserialize(data: bytes) -> Any:
        nonlocal raw
        raw = data
        return handler.request_deserializer(data)

    async def infer(request: Any, context: Any) -> Any:
        response = await handler.unary_unary(request, context)
        recorder = capture.get(request.model_name)
        if recorder is not None and recorder.wanted() and context.code() in (0, None, grpc.StatusCode.OK):
            recorder.offer(Record("", 0, raw, {}, None, "grpc", 200, time.time()))
        return response

    return grpc.unary_unary_rpc_method_handler(infer, deserialize, handler.response_serializer)
