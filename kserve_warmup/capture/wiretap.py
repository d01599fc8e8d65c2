"""Where requests pass on their way into KServe: raw bodies are handed to the recorders, over REST and over gRPC."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from kserve_warmup.capture.capturing import Capture
from kserve_warmup.monitor.taken_request import CURRENT, TakenRequest
from kserve_warmup.protocols.codec import LENGTH_HEADER
from kserve_warmup.protocols.inference_path import MODEL_INFER
from kserve_warmup.samples.sample import Protocol
from kserve_warmup.sampling.formats.encodings import plain
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.transports.endpoints import WARMUP_HEADER

if TYPE_CHECKING:
    from kserve_warmup.monitor.watch import Watch


_MARK = (WARMUP_HEADER.encode(), b"true")
_HTTP_OK = range(200, 300)
LARGEST = 16 << 20
"""Bytes of the largest body that is held for the watch."""

_VERBS = {"/v1/models/": (":predict", ":explain"), "/v2/models/": ("/infer",)}


class WiretapMiddleware:
    """ASGI: shows requests for predictions to the recorders and to the watch after ready, but no warm-up requests."""

    def __init__(self, app: Any, capture: Capture, watch: Watch | None = None) -> None:
        self._app, self._capture, self._watch = app, capture, watch

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, record it if it is drawn, and watch it if its model is ready."""
        model = _model(scope)
        recorder = None if model is None else self._capture.get(model)
        drawn = recorder is not None and recorder.wanted()
        watch = self._watch if model is not None and self._watch is not None and model in self._watch else None
        if model is None or not (drawn or watch) or _MARK in scope["headers"]:
            await self._app(scope, receive, send)
            return
        tap = _Tap(scope, receive, send, most=None if drawn else LARGEST)
        taken = TakenRequest(model, scope["path"], tap.record, recorded=drawn)
        token = CURRENT.set(taken)
        try:
            await self._app(scope, tap.receive, tap.send)
        finally:
            CURRENT.reset(token)
            tap.time = time.time()
            success = tap.status in _HTTP_OK
            if recorder is not None and drawn and success:
                recorder.offer_later(tap.size, tap.record)
            if watch is not None:
                taken.size = tap.size
                if tap.size > LARGEST:
                    taken.make = None
                watch.ended(taken, success=success)


class _Tap:
    """One request's body and status as they pass by; the less this does, the less a request pays."""

    __slots__ = ("_receive", "_scope", "_send", "chunks", "most", "size", "status", "time")

    def __init__(self, scope: Any, receive: Any, send: Any, most: int | None) -> None:
        """Hold no more than ``most`` bytes, None for all of them."""
        self._scope, self._receive, self._send, self.most = scope, receive, send, most
        self.chunks: list[bytes] = []
        self.size = self.status = 0
        self.time = 0.0

    async def receive(self) -> Any:
        message = await self._receive()
        if body := message.get("body"):
            self.size += len(body)
            self.chunks.append(body)
            if self.most is not None and self.size > self.most:
                self.chunks.clear()
        return message

    def send(self, message: Any) -> Any:
        """Return what is awaited: a coroutine of our own would cost a request several times as much."""
        if "status" in message:
            self.status = message["status"]
        return self._send(message)

    def record(self) -> Record:
        return _record(self._scope["path"], self._scope["headers"], self.chunks, self.time)


def _model(scope: Any) -> str | None:
    """Return whose prediction or explanation a request asks for, None if it asks for something else."""
    if scope["type"] != "http":
        return None
    path = scope["path"]
    for verb in _VERBS.get(path[: len("/v1/models/")], ()):
        if path.endswith(verb):
            return str(path[len("/v1/models/") : -len(verb)])
    return None  # KServe answers v2 paths with a version with 501


def _record(path: str, raw: Iterable[tuple[bytes, bytes]], chunks: list[bytes], taken: float) -> Record:
    """Return what came over REST; run by the recorder's thread."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in raw}
    protocol: Protocol = "v1" if path.startswith("/v1") else "v2"
    if LENGTH_HEADER in headers:
        protocol = "v2-binary"
    return plain(Record("", 0, b"".join(chunks), headers, path, protocol, 200, taken))


def tapped(handler: Any, details: Any, capture: Capture, watch: Watch) -> Any:
    """Return a gRPC method's handler that shows requests as they come off the wire, before protobuf reads them."""
    if details.method != MODEL_INFER or any(name == WARMUP_HEADER for name, _ in details.invocation_metadata or ()):
        return handler
    raw = b""

    def deserialize(data: bytes) -> Any:
        nonlocal raw
        raw = data
        return handler.request_deserializer(data)

    async def infer(request: Any, context: Any) -> Any:
        recorder = capture.get(request.model_name)
        drawn = recorder is not None and recorder.wanted()
        watched = request.model_name in watch
        taken = TakenRequest(request.model_name, MODEL_INFER, recorded=drawn)
        token = CURRENT.set(taken)
        success = False
        try:
            response = await handler.unary_unary(request, context)
            success = context.code() in (0, None, grpc.StatusCode.OK)
        finally:
            CURRENT.reset(token)
            make = partial(Record, "", 0, raw, {}, None, "grpc", 200, time.time())
            if drawn and recorder is not None and success:
                recorder.offer_later(len(raw), make)
            if watched:
                taken.size, taken.make = len(raw), make if len(raw) <= LARGEST else None
                watch.ended(taken, success=success)
        return response

    return grpc.unary_unary_rpc_method_handler(infer, deserialize, handler.response_serializer)
