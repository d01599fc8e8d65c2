"""The server's own REST and gRPC stack on ports of 127.0.0.1 that the kernel chooses, open to nobody who can't guess.

Calling an application without a socket (ASGI) leaves the HTTP server itself cold: its parser, its flow control, the
creation of a connection. On a model of 2.3 ms the first v1 request after that was slow by 0.7 ms, and by 0.3 ms when
requests had come through a socket.

Both servers mark what they handle as warm-up requests, so that the model answers them although it is not ready.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import grpc
import uvicorn
from kserve import model_server
from kserve.model import BaseKServeModel
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor, LoggingInterceptor
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from uvicorn.server import ServerState

from kserve_warmup.serving.context import Attempt, mark


@asynccontextmanager
async def rest_loopback(app: Any) -> AsyncIterator[str]:
    """Serve ``app`` on the running loop; yield the address, such as ``http://127.0.0.1:40001``.

    Requests are handled in the context of whoever opens it, so that what marks a warm-up there holds for them.
    """
    config = uvicorn.Config(app, log_config=None, lifespan="off")
    config.load()
    state = ServerState()
    protocol = config.http_protocol_class

    def connection() -> asyncio.Protocol:
        return protocol(config=config, server_state=state, app_state={})  # type: ignore[call-arg]

    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        server.close()
        for task in state.tasks:
            task.cancel()


@asynccontextmanager
async def grpc_loopback(model: BaseKServeModel, noted: Attempt) -> AsyncIterator[str]:
    """Serve ``model`` alone over KServe's own gRPC stack on the running loop; yield the address, ``host:port``.

    gRPC's handlers run in a context of their own: an interceptor marks it with ``noted``.
    """
    models = _AlwaysReady()
    models.update(model)
    given = vars(model_server.args)
    lengths = [f"grpc_max_{way}_message_length" for way in ("send", "receive")]
    server = grpc.aio.server(
        ThreadPoolExecutor(max_workers=1),
        interceptors=(_Marking(noted), LoggingInterceptor(), ExceptionToStatusInterceptor()),
        options=[(name.replace("grpc_", "grpc.", 1), given[name]) for name in lengths if given.get(name)],
    )
    servicer = InferenceServicer(DataPlane(models), ModelRepositoryExtension(models))
    grpc_predict_v2_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


class _AlwaysReady(ModelRepository):  # type: ignore[misc]
    """A repository whose model may be called: KServe would load again one that is not ready (dataplane.py:123)."""

    async def is_model_ready(self, name: str) -> bool:
        return name in self.models


class _Marking(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Marks each call's own task, which handles it too, as a warm-up request."""

    def __init__(self, noted: Attempt) -> None:
        self._noted = noted

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        mark(self._noted)
        return await continuation(details)
