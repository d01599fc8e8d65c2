"""What every warmed model of KServe's has in common, whatever it is asked: from made to healthy."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from kserve.model import BaseKServeModel

from kserve_warmup.caches import baked
from kserve_warmup.capture.capturing import CAPTURE
from kserve_warmup.errors import WarmupError
from kserve_warmup.monitor.watch import WATCH
from kserve_warmup.report import WarmupReport
from kserve_warmup.serving import compat, server
from kserve_warmup.serving.context import attempt
from kserve_warmup.serving.hooks import StillWarmingError, starting_engine, stopping
from kserve_warmup.serving.lifecycle import BusyError, Lifecycle, lifecycle_of
from kserve_warmup.serving.process import PROCESS, in_worker, running_loop, unless_serving
from kserve_warmup.serving.settled import is_settled
from kserve_warmup.serving.state import Phase
from kserve_warmup.serving.warmup import Warmup
from kserve_warmup.settings import WarmupSettings, settings_of
from kserve_warmup.signals import ends_at_once
from kserve_warmup.timeline import LOAD

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures


baked.begin()  # before a model's module goes on to import what compiles


class CannotWarmError(WarmupError, SystemExit):
    """A load at the start of a process met what a person has to mend: uncaught, one line and exit code 1.

    Not a traceback through the caller's code, in which nothing is wrong.
    """

    def __init__(self, message: str) -> None:
        """Take the line."""
        super().__init__(message)
        self.code = f"kserve-warmup: {message}"


class Warmable(BaseKServeModel):  # type: ignore[misc]
    """A model between made and warm: KServe's hooks, its readiness, and copies of it in workers.

    Attributes:
        warmup_settings: Settings for this class or instance; None reads the environment when the model is loaded.
    """

    warmup_settings: WarmupSettings | None = None

    @property
    def ready(self) -> bool:
        """Whether the model is loaded, as it says itself; KServe asks once, to register it. See :meth:`healthy`."""
        return lifecycle_of(self).state.declared

    @ready.setter
    def ready(self, value: bool) -> None:
        lifecycle = lifecycle_of(self)
        before = lifecycle.state.phase
        lifecycle.move(lifecycle.state.declares(bool(value)))
        if value and lifecycle.engine_starting:
            lifecycle.engine_up.set()  # some engines declare themselves and never return
        if lifecycle.state.phase is Phase.LOADED is not before and PROCESS.serving:
            server.warm_soon(self, wait=False)

    @property
    def engine(self) -> bool:
        """Whether KServe is to call ``start_engine``: because the model has one, or once for us."""
        lifecycle = lifecycle_of(self)
        return lifecycle.engine or lifecycle.hook_wanted

    @engine.setter
    def engine(self, value: bool) -> None:
        lifecycle_of(self).engine = bool(value)

    async def healthy(self) -> bool:
        """Return whether the model is loaded, and warm on every path that this process serves.

        This is what KServe's readiness endpoints and its gates for requests ask, twice for each request.
        """
        if lifecycle_of(self).state.healthy:
            return bool(self.ready)
        return await self._healthy(BaseKServeModel.healthy)

    async def _healthy(self, own: Callable[[Any], Awaitable[bool]]) -> bool:
        lifecycle = lifecycle_of(self)
        if own_request := attempt():
            own_request.asked.add(id(self))
            return lifecycle.state.declared
        await lifecycle.followed()
        if lifecycle.state.phase is Phase.LOADED and not PROCESS.serving:
            lifecycle.asked_before_served(self.name)
            self._settle_what_needs_no_server()
        return lifecycle.state.healthy and bool(await own(self))

    @property
    def warmup_report(self) -> WarmupReport | None:
        """What the last warm-up did, None before the first one."""
        warmup = lifecycle_of(self).warmup
        return warmup.report if warmup else None

    def load_model(self) -> None:
        """Load the model. Override this, plain or async, and leave ``load()`` alone."""

    def load(self) -> bool:
        """Load the model and warm its own path as far as it can be done here; return whether it is loaded.

        Raises:
            StillWarmingError: a load is already under way; a request that arrives meanwhile gets 503 or UNAVAILABLE.
            WarmupError: a setting or the sample set cannot be used, and the settings say not to serve cold.
        """
        return self._load(Warmable._load_model)

    def _load_model(self) -> bool:
        if not inspect.iscoroutinefunction(self.load_model):
            self.load_model()
        self.ready = True
        return True

    def start(self) -> None:
        """Note that the server registers the model.

        KServe's own would mark it ready, whatever it says itself.
        """
        self._registered()

    def _registered(self) -> None:
        lifecycle = lifecycle_of(self)
        lifecycle.registered = lifecycle.hook_wanted = True
        lifecycle.served_anew()
        self._attend()

    start_engine = starting_engine(BaseKServeModel.start_engine)
    """Start the model's own engine, and warm what the process that calls this serves besides REST."""

    async def _start_engine(self, own: Callable[[Any], Awaitable[None]]) -> None:
        lifecycle = lifecycle_of(self)
        lifecycle.hook_wanted = False
        if lifecycle.engine:
            lifecycle.engine_starting = True
            await own(self)
            lifecycle.engine_up.set()
        if lifecycle.registered:
            await server.warm_parent(self)

    stop = stopping(BaseKServeModel.stop)
    """Tear the model down."""

    def _load(self, load: Callable[[Any], Any]) -> bool:
        """Run ``load``, a subclass's own, and warm what it made."""
        lifecycle = lifecycle_of(self)
        if lifecycle.loading_here:  # super().load() in a subclass's load
            return bool(load(self))
        serving = PROCESS.serving
        try:
            # A server that is up ends in its own way, with what its other models are answering.
            with unless_serving(ends_at_once), lifecycle.loading(again=not _in_a_request(lifecycle)):
                loaded = self._run_load(lifecycle, load)
                lifecycle.move(lifecycle.state.load_ends(loaded=loaded))
            if loaded:
                self._after_load(lifecycle)
        except BusyError:
            raise StillWarmingError(self.name) from None
        except CannotWarmError:
            raise
        except WarmupError as error:
            if serving or running_loop():
                raise
            raise CannotWarmError(str(error)) from None
        return loaded

    def _run_load(self, lifecycle: Lifecycle, load: Callable[[Any], Any]) -> bool:
        self._attend()
        with lifecycle.made_by_load.recording(self.__dict__), lifecycle.clock.step(LOAD):
            return bool(load(self)) or lifecycle.state.declared

    def _after_load(self, lifecycle: Lifecycle) -> None:
        """Warm here what can be warmed here, and leave the rest to the server."""
        try:
            with unless_serving(ends_at_once), lifecycle.made_by_load.recording(self.__dict__):
                self._settle_what_needs_no_server()
                if lifecycle.warmup and lifecycle.state.phase is Phase.LOADED and self._may_run_here(lifecycle):
                    lifecycle.warmup.in_load(only_grpc=compat.workers_asked_for() and not in_worker())
        except WarmupError:
            lifecycle.move(lifecycle.state.fails().declares(ready=False))
            raise
        if lifecycle.state.phase is Phase.LOADED and PROCESS.serving:
            server.warm_soon(self)

    def _settle_what_needs_no_server(self) -> None:
        """Read the samples; a model that nothing can be sent to is as warm as it will be."""
        lifecycle = lifecycle_of(self)
        if lifecycle.warmup is None:
            lifecycle.warmup = Warmup(self, lifecycle.clock)
        if not (lifecycle.warmup.samples or lifecycle.engine or inspect.iscoroutinefunction(self.load_model)):
            lifecycle.move(lifecycle.state.warmed())

    def _may_run_here(self, lifecycle: Lifecycle) -> bool:
        """Return whether requests may be handled here and now as the server will handle them."""
        here = threading.current_thread() is threading.main_thread() and running_loop() is None
        return here and not (lifecycle.constructing or lifecycle.engine or self._has_coroutines())

    def _has_coroutines(self) -> bool:
        """Return whether a request of this model needs a running loop."""
        return True

    def _attend(self) -> None:
        """Have the server of this process warm the model, and record its requests if the settings say so."""
        baked.attend()
        server.attend(self)
        settings = settings_of(self)
        if settings.monitor or settings.capture_dir is not None:
            compat.record_requests()
        WATCH.settled = is_settled
        CAPTURE.add(self.name, settings)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker needs to load the model for itself, without what a load has made."""
        return lifecycle_of(self).made_by_load.without(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the copy's place in this process."""
        # a subclass's own __getstate__ may give what are properties here
        declared = {name: state[name] for name in ("ready", "engine") if name in state}
        self.__dict__.update({name: value for name, value in state.items() if name not in declared})
        for name, value in declared.items():
            setattr(self, name, value)
        self._attend()


def _in_a_request(lifecycle: Lifecycle) -> bool:
    """Return whether KServe calls load() because a request has met a model that is not warm yet."""
    return running_loop() is not None and (lifecycle.registered or PROCESS.serving)
