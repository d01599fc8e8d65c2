"""Every place where this package touches what KServe does not promise, checked when it is imported.

An upgrade that moves one of them is named at start, with KServe's version, instead of a server that is cold in silence.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kserve
import kserve.model
import kserve.model_server
from kserve import metrics as kserve_metrics
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.interceptors import LoggingInterceptor

from kserve_warmup.capture.capturing import CAPTURE
from kserve_warmup.capture.wiretap import WiretapMiddleware, tapped
from kserve_warmup.errors import WarmupError
from kserve_warmup.monitor.watch import WATCH
from kserve_warmup.serving.process import PROCESS
from kserve_warmup.transports.endpoints import WARMUP_HEADER

REST_TASK, WORKERS_TASK, GRPC_TASK = "RESTServer.start", "RESTServerMultiProcess.start", "GRPCServer.start"
"""The coroutines that ``ModelServer.start`` runs side by side, each in a task (model_server.py:340 of 0.21)."""

_REQUEST_HISTOGRAMS = ("PRE_HIST_TIME", "PREDICT_HIST_TIME", "POST_HIST_TIME", "EXPLAIN_HIST_TIME")


def check() -> None:
    """Look for everything that is touched.

    Raises:
        WarmupError: something is gone.
    """
    from kserve.protocol.grpc.server import GRPCServer
    from kserve.protocol.rest.multiprocess.server import RESTServerMultiProcess
    from kserve.protocol.rest.server import RESTServer

    touched = {
        "kserve.model_server.app.router.lifespan_context": hasattr(
            getattr(kserve.model_server.app, "router", None), "lifespan_context"
        ),
        "kserve.model._FORWARDABLE_HEADERS": isinstance(getattr(kserve.model, "_FORWARDABLE_HEADERS", None), frozenset),
        "LoggingInterceptor.intercept_service": hasattr(LoggingInterceptor, "intercept_service"),
        "kserve.model_server.args": hasattr(kserve.model_server, "args"),
        "kserve.Model.start_engine": asyncio.iscoroutinefunction(getattr(kserve.Model, "start_engine", None)),
        "DataPlane.model_ready": asyncio.iscoroutinefunction(getattr(DataPlane, "model_ready", None)),
        "kserve.Model.healthy": asyncio.iscoroutinefunction(getattr(kserve.Model, "healthy", None)),
    }
    for name in _REQUEST_HISTOGRAMS:
        touched[f"kserve.metrics.{name}"] = hasattr(getattr(kserve_metrics, name, None), "_metrics")
    for owner, task in ((RESTServer, REST_TASK), (RESTServerMultiProcess, WORKERS_TASK), (GRPCServer, GRPC_TASK)):
        touched[task] = getattr(getattr(owner, "start", None), "__qualname__", "") == task
    if gone := sorted(name for name, there in touched.items() if not there):
        raise WarmupError(
            f"kserve {kserve.__version__} has no {gone[0]} any more, which the warm-up needs: "
            "install a version of kserve that this version of kserve-warmup names in its requirements"
        )


def forward_the_mark() -> None:
    """Let a transformer tell its predictor that a request is a warm-up request.

    KServe forwards a fixed list of headers. Requests from outside lose the mark before (see ``WarmupModel.__call__``).
    """
    kserve.model._FORWARDABLE_HEADERS |= {WARMUP_HEADER}  # noqa: SLF001


def ask_the_transformer_too() -> None:
    """Let a transformer of ours be ready only once it is warm itself.

    With ``--enable_predictor_health_check`` KServe asks the predictor alone (dataplane.py:300 of 0.21), and would send
    users to a transformer that answers them 503.
    """
    own = DataPlane.model_ready

    @functools.wraps(own)
    async def model_ready(self: DataPlane, model_name: str, disable_predictor_health_check: bool = False) -> bool:
        if (
            not disable_predictor_health_check
            and self.predictor_config
            and self.predictor_config.predictor_health_check
        ):
            model = self._model_registry.get_model(model_name)
            if id(model) in PROCESS.models and not await model.healthy():
                return False
        return bool(await own(self, model_name, disable_predictor_health_check))

    DataPlane.model_ready = model_ready


def serves(task: str) -> bool:
    """Return whether the running loop serves one of the tasks above."""
    return any(getattr(t.get_coro(), "__qualname__", "") == task for t in asyncio.all_tasks())


def workers_asked_for() -> bool:
    """Return whether the command line asks for several workers; a server made in code may differ."""
    return int(getattr(kserve.model_server.args, "workers", 1) or 1) > 1


def record_requests() -> None:
    """Show requests to the recorders and the watch; before the application has started, and once."""
    app = kserve.model_server.app
    if all(middleware.cls is not WiretapMiddleware for middleware in app.user_middleware) and not app.middleware_stack:
        app.add_middleware(WiretapMiddleware, capture=CAPTURE, watch=WATCH)
    intercept = LoggingInterceptor.intercept_service
    if hasattr(intercept, "__wrapped__"):
        return

    @functools.wraps(intercept)
    async def intercepted(self: LoggingInterceptor, continuation: Any, details: Any) -> Any:
        handler = await intercept(self, continuation, details)  # the outermost: what comes of all the others
        return tapped(handler, details, CAPTURE, WATCH) if CAPTURE or WATCH else handler

    LoggingInterceptor.intercept_service = intercepted


@contextmanager
def request_histograms_untouched(model: str) -> Iterator[None]:
    """Take what ``Model.__call__`` counts in this block out of KServe's histograms again.

    The model's own series are set aside and put back: after a reload they still hold the real requests. Only a model
    that answers nobody else may be warmed in here. prometheus_client has no public way to do that, so this touches
    the registry of a histogram's children; a test fails should that change.
    """
    histograms = [getattr(kserve_metrics, name) for name in _REQUEST_HISTOGRAMS]
    aside = [(histogram, histogram._metrics.pop((model,), None)) for histogram in histograms]  # noqa: SLF001
    try:
        yield
    finally:
        for histogram, child in aside:
            histogram._metrics.pop((model,), None)  # noqa: SLF001
            if child is not None:
                histogram._metrics[(model,)] = child  # noqa: SLF001


check()
forward_the_mark()
ask_the_transformer_too()
