"""Where the warm-up meets ``kserve.ModelServer``, by KServe's public hooks alone, in every process that serves.

``start()`` tells that a model is registered. The application's lifespan warms what the process serves over REST, and in
a server of one process gRPC too, after the application's own start-up and before the HTTP port opens; a model that has
to wait for something lets the port open, and is warmed behind it. ``start_engine()`` warms gRPC in the parent of
several workers, which has no lifespan.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import kserve.model_server
from kserve import Model

from kserve_warmup.errors import WarmupError
from kserve_warmup.serving import compat
from kserve_warmup.serving.end import end_process, ends_with_its_workers
from kserve_warmup.serving.lifecycle import lifecycle_of
from kserve_warmup.serving.process import PROCESS, running_loop
from kserve_warmup.serving.state import Phase
from kserve_warmup.serving.warming import become_warm
from kserve_warmup.signals import ends_at_once

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

WORKERS_LOOK_SECONDS = 0.2
"""Between two looks at the workers: KServe replaces one that has ended within half a second."""


def attend(model: Model) -> None:
    """Warm ``model`` when the server of this process starts."""
    PROCESS.models[id(model)] = model
    go_around_the_lifespan()


def go_around_the_lifespan() -> None:
    """Have the application's lifespan warm what it serves; done at import, and again when a model shows up.

    A lifespan that was set meanwhile prepares what models need: it must come first, so ours goes around it too. KServe
    itself merges lifespans each time that it makes its application. Of several of ours inside each other only the
    newest, which is the outermost, does anything.
    """
    router = kserve.model_server.app.router
    inner = router.lifespan_context
    if inner is getattr(router, "kserve_warmup", None):
        return

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[Any]:
        outermost = router.kserve_warmup is lifespan  # now: what starts in there may make a model, and so a newer one
        async with inner(app) as state:
            if outermost:
                await _warm_application(app)
            yield state

    router.lifespan_context = router.kserve_warmup = lifespan


async def _warm_application(app: Any) -> None:
    """Warm all models before the port opens, but for those that wait."""
    PROCESS.begin(app)
    _build_routes(app)
    models = list(PROCESS.models.values())
    with ends_at_once():
        for model, task in [(model, PROCESS.spawn(_first_warm_up(model))) for model in models]:
            await lifecycle_of(model).settled_or_waits(task)


def _build_routes(app: Any) -> None:
    """Let FastAPI build every router's routes, as it otherwise does when the first request comes by each.

    A probe of v2 after a warm-up over v1 would build v2's, and with that reset which warnings Python has shown: the
    first v1 request then shows FastAPI's about ORJSONResponse anew, for 0.3 ms.
    """
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": []})


async def warm_parent(model: Model) -> None:
    """In the process that has spawned the workers, warm gRPC, which it answers itself, and look after the workers."""
    if not compat.serves(compat.WORKERS_TASK):
        return
    if not PROCESS.serving:
        PROCESS.begin()
        PROCESS.spawn(_watch_workers())
    await _first_warm_up(model)


async def _watch_workers() -> None:
    seen: dict[int | None, Any] = {}
    while True:
        seen |= {worker.pid: worker for worker in multiprocessing.active_children()}
        if ends_with_its_workers(seen.values()):
            return
        await asyncio.sleep(WORKERS_LOOK_SECONDS)


async def _first_warm_up(model: Model) -> None:
    """Bring a model from wherever it is to warm; one that cannot be warmed ends the process with one line."""
    state = lifecycle_of(model).state
    try:
        if state.phase is Phase.NEW and state.load_wanted:
            with _as_if_before_the_loop():
                loaded = model.load()
            if not loaded:
                logger.error("%s: not ready: its load() says so in this process, unlike in its parent", model.name)
        await become_warm(model)
    except Exception as error:
        if lifecycle_of(model).stopped:
            return  # ModelServer.stop has unloaded everything: the failure is the shutdown's
        logger.debug("the warm-up ended", exc_info=True)
        if not isinstance(error, WarmupError):
            logger.critical("%s", error, exc_info=error)
        line = str(error) if isinstance(error, WarmupError) else f"loading failed: {type(error).__name__}: {error}"
        end_process(line)


@contextmanager
def _as_if_before_the_loop() -> Iterator[None]:
    """Hide the running loop from a plain ``load()``: it runs on the main thread, as in a server of one process.

    A worker is handed the parent's models and never calls load() itself, so its lifespan is the first place to do so.
    """
    loop = asyncio.get_running_loop()
    asyncio._set_running_loop(None)  # noqa: SLF001  (asyncio exports it, for loops that are made elsewhere)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)  # noqa: SLF001


def warm_soon(model: Model, *, wait: bool = True) -> None:
    """Warm a model that was loaded while its server runs, on the server's loop; other models and liveness go on.

    Args:
        model: The model.
        wait: In another thread than the loop's, return only when it is done, as the load that it follows would.
    """
    loop = PROCESS.loop
    assert loop is not None, "a server runs"
    if running_loop() is loop:
        lifecycle_of(model).follow(PROCESS.spawn(_warm_again(model)))
    elif threading.current_thread() is not threading.main_thread():
        warming_up = asyncio.run_coroutine_threadsafe(_warm_again(model), loop)
        if wait:
            warming_up.result()


async def _warm_again(model: Model) -> None:
    try:
        await become_warm(model)
    except Exception as error:
        logger.critical("%s", error, exc_info=None if isinstance(error, WarmupError) else error)


go_around_the_lifespan()
