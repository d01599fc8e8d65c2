"""From loaded to warm, on the loop that serves: what the model waits for, then REST, then gRPC."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from typing import Any
from urllib.parse import quote

import orjson
from kserve import Model

from kserve_warmup.replay import DependencyAwayError, NoAnswerError, answered_within
from kserve_warmup.serving import compat
from kserve_warmup.serving.context import warming
from kserve_warmup.serving.lifecycle import Lifecycle, lifecycle_of
from kserve_warmup.serving.process import PROCESS
from kserve_warmup.serving.state import Phase
from kserve_warmup.serving.warmup import Warmup
from kserve_warmup.settings import settings_of
from kserve_warmup.timeline import LOAD
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch
from kserve_warmup.transports.loopback import rest_loopback

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

LOOK_SECONDS = 0.5
"""Between two tries whether what a model waits for has come, at first."""

MOST_LOOK_SECONDS = 2.0

ENGINE_LOOK_SECONDS = 0.05
"""Between two looks at the model's own engine."""

ENGINE_SAYS_NOTHING_SECONDS = 10.0
"""After which, again and again, a model is asked whether its engine is up."""

ASK_SECONDS = 5.0
"""Until the application has said which models it serves."""


async def become_warm(model: Model) -> None:
    """Bring a loaded model to warm on the running, serving loop: what it waits for, then REST, then gRPC.

    Raises:
        WarmupError: it cannot be warmed, and the settings say not to serve it cold.
    """
    lifecycle = lifecycle_of(model)
    if lifecycle.state.phase is not Phase.LOADED:
        return
    lifecycle.move(lifecycle.state.warms())
    try:
        await _finish_loading(model, lifecycle)
        warmup = lifecycle.warmup = lifecycle.warmup or Warmup(model, lifecycle.clock)
        pause = LOOK_SECONDS
        while not await _tried(model, lifecycle, warmup):
            await asyncio.sleep(pause)
            pause = min(1.2 * pause, MOST_LOOK_SECONDS)
        warmup.note_caches()
    except BaseException:
        lifecycle.move(lifecycle.state.fails())
        raise
    finally:
        if lifecycle.warmup:
            lifecycle.warmup.attempt.over = True
    warmup.finish()
    lifecycle.move(lifecycle.state.warmed())


async def _finish_loading(model: Model, lifecycle: Lifecycle) -> None:
    """Do what a load left to the serving loop: an async ``load_model``, the model's own engine."""
    if inspect.iscoroutinefunction(model.load_model):
        with lifecycle.made_by_load.recording(model.__dict__), lifecycle.clock.step(LOAD):
            await model.load_model()
    enabled = settings_of(model).enabled  # if not, all is as if this package were not there
    if enabled and lifecycle.engine and not lifecycle.engine_up.is_set():
        lifecycle.move(lifecycle.state.waits())
        # KServe starts no engine of a worker's copy, nor of a model that is made while the server runs.
        starting = None if lifecycle.registered else asyncio.ensure_future(model.start_engine())
        asked = time.monotonic()
        while not lifecycle.engine_up.is_set():  # set from any thread
            if starting and starting.done():
                await starting
            await asyncio.sleep(ENGINE_LOOK_SECONDS)
            if time.monotonic() - asked > ENGINE_SAYS_NOTHING_SECONDS:
                if await _answers(model, lifecycle):
                    break
                asked = time.monotonic()


async def _answers(model: Model, lifecycle: Lifecycle) -> bool:
    """Return whether a model answers whose engine has said nothing yet: some run as long as the server does."""
    warmup = lifecycle.warmup = lifecycle.warmup or Warmup(model, lifecycle.clock)
    name = await _name_in(PROCESS.app, model, warmup) if PROCESS.app else None
    if await warmup.is_answered(PROCESS.app, name):
        return True
    logger.warning(
        "%s: not ready: its start_engine() has neither returned nor set ready, and requests are not answered yet",
        model.name,
    )
    return False


async def _tried(model: Model, lifecycle: Lifecycle, warmup: Warmup) -> bool:
    """Warm what is not warm yet; return False when something that the model needs is away."""
    async with PROCESS.turn:
        waited = lifecycle.state.phase is Phase.WAITING
        lifecycle.move(lifecycle.state.warms())
        try:
            with lifecycle.made_by_load.recording(model.__dict__):
                name = await _name_in(PROCESS.app, model, warmup) if PROCESS.app else None
                if name:
                    await warmup.over_rest(PROCESS.app, name)
                if compat.serves(compat.GRPC_TASK) and (name or not PROCESS.app):
                    await warmup.over_grpc()
        except DependencyAwayError as error:
            if not waited or warmup.has_waited_long():
                logger.warning("%s: not ready, waiting for what it needs: %s", model.name, error)
            warmup.waits = True
            lifecycle.move(lifecycle.state.waits())
            return False
    return True


async def _name_in(app: Any, model: Model, warmup: Warmup) -> str | None:
    """Return a name under which ``app`` serves ``model``, None if it does not; asked as a client would."""
    try:
        with warming(warmup.attempt):
            async with rest_loopback(app) as url:
                where = Address.parse(url)
                listed = await answered_within(ASK_SECONDS, fetch(where, "GET", "/v2/models", warmup.headers))
                names = [str(name) for name in orjson.loads(listed.body)["models"]] if listed.ok else [model.name]
                for name in () if model.name in names else names:  # registered under another name than its own
                    path = f"/v1/models/{quote(name, safe='')}"
                    await answered_within(ASK_SECONDS, fetch(where, "GET", path, warmup.headers))
                    if id(model) in warmup.attempt.asked:
                        return name
                return str(model.name) if model.name in names else None
    except (ConnectionLostError, NoAnswerError, orjson.JSONDecodeError, KeyError, TypeError):
        return str(model.name)
