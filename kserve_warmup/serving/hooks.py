"""Where the warm-up meets ``kserve.ModelServer``: before the HTTP port opens, in every process that serves.

Two methods are wrapped when this module is imported, so in spawned workers too, which import the model's class to
unpickle it. ``RESTServer.create_application`` runs in each serving process: there the application gets a lifespan that
warms, and uvicorn opens the port only when it is through. ``ModelServer._serve`` is the last step before the ports
open, in the process that serves gRPC.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import kserve.model_server
import uvicorn
from kserve.model import InferenceModel
from kserve.protocol.grpc.interceptors import LoggingInterceptor
from kserve.protocol.rest.server import RESTServer

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.lifecycle import Lifecycle, Phase
from kserve_warmup.serving.capture import CAPTURE
from kserve_warmup.serving.signals import ends_at_once
from kserve_warmup.serving.wiretap import WiretapMiddleware, tapped
from kserve_warmup.settings import WarmupSettings

if TYPE_CHECKING:
    from kserve.model_repository import ModelRepository

    from kserve_warmup.model import WarmupModel

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

_warming: ContextVar[bool] = ContextVar("kserve_warmup_warming", default=False)


class _Serving:
    """What this process serves: set once its server starts."""

    server: Any = None
    loop: asyncio.AbstractEventLoop | None = None


def warming_in_this_context() -> bool:
    """Return whether the caller is a warm-up request, which passes the gate that it is there to open."""
    return _warming.get()


def install() -> None:
    """Hook into KServe; done once, at import."""
    create_application, serve = RESTServer.create_application, kserve.ModelServer._serve  # noqa: SLF001

    @functools.wraps(create_application)
    def created(self: RESTServer) -> None:
        create_application(self)
        _add_lifespan(kserve.model_server.app, self.config, self.dataplane.model_registry)
        if _record_traffic(self.dataplane.model_registry):
            kserve.model_server.app.add_middleware(WiretapMiddleware, capture=CAPTURE)

    @functools.wraps(serve)
    async def served(self: kserve.ModelServer) -> None:
        _Serving.server = self
        _record_traffic(self.registered_models)
        for model in _warmup_models(self.registered_models):
            state = model._lifecycle  # noqa: SLF001
            # gRPC opens beside the lifespan: until that has come to a model it is not ready, nor loaded again.
            state.served, state.pending = True, state.loaded
        if self.workers > 1:
            _Serving.loop = asyncio.get_running_loop()
            warming_up = asyncio.create_task(_warm_parent(self))
            try:
                await serve(self)
            finally:
                warming_up.cancel()
        else:
            await serve(self)

    intercept = LoggingInterceptor.intercept_service

    @functools.wraps(intercept)
    async def intercepted(self: LoggingInterceptor, continuation: Any, details: Any) -> Any:
        handler = await intercept(self, continuation, details)  # the outermost: what comes of all the others
        return tapped(handler, details, CAPTURE) if CAPTURE else handler

    LoggingInterceptor.intercept_service = intercepted
    RESTServer.create_application = created
    kserve.ModelServer._serve = served  # noqa: SLF001


def _record_traffic(registry: ModelRepository) -> bool:
    """Record the requests of those models that are set to; return whether there are any."""
    for model in _warmup_models(registry):
        CAPTURE.add(model.name, model.warmup_settings or WarmupSettings())
    return bool(CAPTURE)


def _add_lifespan(app: Any, config: uvicorn.Config, registry: ModelRepository) -> None:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        async with inner(app) as state:
            _build_routes(app)
            await _warm_application(config, registry)
            yield state

    app.router.lifespan_context = lifespan


def _build_routes(app: Any) -> None:
    """Let FastAPI build every router's routes, as it otherwise does when the first request comes by each.

    A probe of v2 after a warm-up over v1 would build v2's, and with that reset which warnings Python has shown: the
    first v1 request then shows FastAPI's about ORJSONResponse anew, for 0.3 ms.
    """
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []})


async def _warm_application(config: uvicorn.Config, registry: ModelRepository) -> None:
    """Warm what the REST server of ``config`` is about to serve, from within its own process and loop."""
    server, _Serving.loop = _Serving.server, asyncio.get_running_loop()
    with ends_at_once():
        for model in _warmup_models(registry):
            await _or_exit(_warm(model, config, server), server)


async def _warm_parent(server: Any) -> None:
    """Warm the process that has spawned the workers: it answers gRPC, and has no lifespan."""
    for model in _warmup_models(server.registered_models):
        await _or_exit(_warm(model, None, server), server)


async def _warm(model: WarmupModel, config: uvicorn.Config | None, server: Any) -> None:
    """Bring one registered model from wherever it is to warm: load, model path, REST, gRPC."""
    state = model._lifecycle  # noqa: SLF001
    if state.phase is Phase.COLD and state.load_wanted:
        # In a thread: a user's load may run a loop of its own, and the parent kills a worker that misses its pings.
        await asyncio.to_thread(model.load)
    state.served = True
    if not state.loaded:
        return
    grpc_server = server if server is not None and server.enable_grpc else None
    await model._warm_on_loop(config, grpc_server)  # noqa: SLF001
    state.pending = False


async def _or_exit(work: Any, server: Any) -> None:
    """Await ``work``; a model that cannot be warmed ends the process with one clear line and code 1.

    uvicorn turns an exception here into an "unsupported lifespan" and serves on, and the gRPC server beside it would
    keep the process alive without HTTP.
    """
    try:
        await work
    except Exception as error:
        if server is not None and not server.registered_models.get_models():
            return  # ModelServer.stop has unloaded everything: the failure is the shutdown's
        line = str(error) if isinstance(error, WarmupError) else f"loading failed: {type(error).__name__}: {error}"
        logger.critical("%s", line, exc_info=not isinstance(error, WarmupError))
        rest = getattr(server, "_rest_multiprocess_server", None)
        if rest is not None:
            await rest.terminate_all()
        sys.stderr.write(f"kserve-warmup: {line}\n")
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(WarmupFailedError.exit_code)


def warm_later(model: WarmupModel) -> None:
    """Warm a model that was loaded again while its server runs, on the server's loop."""
    if _Serving.loop is not None:
        asyncio.run_coroutine_threadsafe(model._warm_on_loop(), _Serving.loop).add_done_callback(_log_failure)  # noqa: SLF001


def _log_failure(warmup: Future[None]) -> None:
    """Say why a reloaded model stays unready; the server's other models go on."""
    if not warmup.cancelled() and (error := warmup.exception()):
        logger.critical("%s", error, exc_info=None if isinstance(error, WarmupError) else error)


def _warmup_models(registry: ModelRepository) -> Iterable[WarmupModel]:
    """Return each WarmupModel once, whatever names it is registered under."""
    models = registry.get_models().values()
    return {id(m): m for m in models if isinstance(getattr(m, "_lifecycle", None), Lifecycle)}.values()


@contextmanager
def warming() -> Iterator[None]:
    """Mark the requests made in this block as warm-up requests."""
    token = _warming.set(True)
    try:
        yield
    finally:
        _warming.reset(token)


class _WarmView(InferenceModel):  # type: ignore[misc]
    """A model under a name that nobody can guess, open while the model itself is still closed.

    gRPC has no way to tell the server's own requests from others before the gate: its handlers run in a context of
    their own.
    """

    def __init__(self, model: WarmupModel, name: str) -> None:
        super().__init__(name)
        self._model = model
        self.ready = True

    async def __call__(self, body: Any, headers: Any = None, *_: Any) -> Any:
        body.model_name = self._model.name
        return await self._model(body, headers)


@asynccontextmanager
async def own_grpc_name(model: WarmupModel, server: Any) -> AsyncIterator[tuple[str, str]]:
    """Yield the address of this process's gRPC server, and a name that reaches ``model`` there although not ready."""
    models = server.registered_models.get_models()
    name = f"{model.name}.warmup-{secrets.token_hex(16)}"
    models[name] = _WarmView(model, name)
    try:
        yield f"127.0.0.1:{server.grpc_port}", name
    finally:
        models.pop(name, None)


install()
