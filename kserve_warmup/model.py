"""``WarmupModel``: a ``kserve.Model`` that is ready only once it is warm."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import kserve
import uvicorn
from kserve.errors import ModelNotReady

from kserve_warmup.errors import WarmupError
from kserve_warmup.lifecycle import Lifecycle, Phase
from kserve_warmup.report import WarmupReport
from kserve_warmup.serving import hooks
from kserve_warmup.serving.signals import ends_at_once
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.timeline import LOAD, Stopwatch
from kserve_warmup.warming import Warmup


class StillWarmingError(ModelNotReady):  # type: ignore[misc]
    """A request met a model whose load or warm-up is under way: HTTP 503, gRPC UNAVAILABLE.

    KServe's gRPC interceptor reads ``reason``, which its own ModelNotReady lacks (interceptors.py:88 of 0.21), and
    would answer UNKNOWN.
    """

    def __init__(self, model: str) -> None:
        """Name the model."""
        super().__init__(model, "It is loading or warming up.")
        self.reason = str(self)


class WarmupModel(kserve.Model):  # type: ignore[misc]
    """A KServe model that answers its own traffic until it is fast, and only then says that it is ready.

    Changing the base class is all that a model needs. Its own ``load()`` may end with ``self.ready = True`` as before:
    the assignment means "loaded". Or leave ``load()`` alone and override :meth:`load_model`.

    A model whose predict, preprocess and postprocess are plain functions is warmed at the end of ``load()``. One with
    a coroutine among them is warmed on the event loop that will serve it, before the HTTP port opens: clients and
    locks that it creates lazily belong to that loop. The wire path (routing, JSON, codecs, gRPC) is warmed there too.

    Attributes:
        warmup_settings: Settings for this class or instance; None reads the environment when the model is loaded.
    """

    warmup_settings: WarmupSettings | None = None
    _kserve_warmup: Lifecycle

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Put the warm-up around a subclass's ``load`` and ``__init__``, those that a mixin brings included."""
        super().__init_subclass__(**kwargs)
        for name, wrap in (("load", _loading), ("__init__", _constructing)):
            found = getattr(cls, name)
            if found is not getattr(WarmupModel, name) and not hasattr(found, "_kserve_warmup_wrapped"):
                wrapper = wrap(found)
                wrapper._kserve_warmup_wrapped = True  # noqa: SLF001
                setattr(cls, name, wrapper)

    @property
    def _lifecycle(self) -> Lifecycle:
        try:
            return self._kserve_warmup
        except AttributeError:
            # Made on first use: a subclass may set ready before it calls our constructor.
            self._kserve_warmup = Lifecycle()
            return self._kserve_warmup

    @property
    def _clock(self) -> Stopwatch:
        state = self._lifecycle
        if state.clock is None:  # a model that was set ready without a load
            state.clock = Stopwatch()
        return state.clock

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and warm; what the readiness endpoints and the request gate ask."""
        state = self._lifecycle
        if hooks.warming_in_this_context():
            return state.loaded
        if state.phase is Phase.WARM:
            return state.loaded and not state.pending
        if state.phase is Phase.LOADED:
            # Until a server starts nobody outside can ask, and KServe registers only models that say ready.
            return state.loaded and not state.served
        return state.loaded and state.mine and state.phase is Phase.LOADING

    @ready.setter
    def ready(self, value: bool) -> None:
        state = self._lifecycle
        state.loaded = bool(value)
        if value and state.phase in (Phase.COLD, Phase.FAILED) and not state.busy:
            state.phase = Phase.LOADED

    @property
    def warmup_report(self) -> WarmupReport | None:
        """What the last warm-up did, None before the first one."""
        warmup = self._lifecycle.warmup
        return warmup.report if warmup else None

    def load_model(self) -> None:
        """Load the model. Override this, plain or async, and leave ``load()`` alone."""

    def load(self) -> bool:
        """Load and warm the model; return whether it is ready.

        Raises:
            StillWarmingError: a load is already under way; a request that arrives meanwhile gets 503 or UNAVAILABLE.
            WarmupError: the model cannot be warmed, and the settings say not to serve it cold.
        """
        return self._load(WarmupModel._load_model)

    def _load_model(self) -> bool:
        if not inspect.iscoroutinefunction(self.load_model):
            self.load_model()
        self.ready = True
        return True

    def start(self) -> None:
        """Do nothing: KServe calls this when it registers a model, and would mark it ready whatever it says itself."""

    def _load(self, load: Any) -> bool:
        """Run ``load``, a subclass's own, and warm what it made."""
        state = self._lifecycle
        if state.mine:  # super().load() in a subclass's load
            return bool(load(self))
        # A server that is up ends in its own way, with what its other models are answering.
        with state.exclusive() as entered, nullcontext() if state.served else ends_at_once():
            if not entered or state.pending:
                raise StillWarmingError(self.name)
            done = self._load_exclusively(load)
        if state.phase is Phase.LOADED and state.served:
            hooks.warm_later(self)  # not before the lock is free: the serving loop may be in another thread
        return done

    def _load_exclusively(self, load: Any) -> bool:
        state = self._lifecycle
        state.phase, state.loaded, state.load_wanted = Phase.LOADING, False, True
        clock = state.clock = Stopwatch(reload=state.warmup is not None)
        try:
            with state.recording(self.__dict__), clock.step(LOAD):
                state.loaded = bool(load(self)) or state.loaded
        except BaseException:
            state.phase, state.loaded = Phase.COLD, False
            raise
        if not state.loaded:
            state.phase = Phase.COLD
            return False
        state.phase = Phase.LOADED
        if state.constructing or self._needs_serving_loop():
            return True  # KServe registers only models that say they are ready: see the property
        return self._warm_here()

    def _needs_serving_loop(self) -> bool:
        hooks_of_the_user = (self.predict, self.preprocess, self.postprocess, self.load_model)
        return any(
            inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook)
            for hook in hooks_of_the_user
            # KServe's own preprocess and postprocess are coroutines that do nothing.
            if getattr(hook, "__func__", None) not in (kserve.Model.preprocess, kserve.Model.postprocess)
        )

    def _warm_here(self) -> bool:
        """Warm the model's own path from this thread, loop or no loop."""
        state = self._lifecycle
        with self._becoming_warm() as warmup:
            warmup.model_path_in_thread()
        return state.loaded

    async def _warm_on_loop(self, rest: uvicorn.Config | None = None, server: Any = None) -> None:
        """Warm whatever is not warm yet on the running, serving loop: the model's path, REST, gRPC.

        Args:
            rest: The REST server that is about to open, None where none is.
            server: The ``kserve.ModelServer`` whose gRPC port serves the model, None where it does not.
        """
        state = self._lifecycle
        with state.exclusive() as entered:
            if not entered:
                return
            deferred = state.phase is Phase.LOADED
            if deferred and inspect.iscoroutinefunction(self.load_model):
                with state.recording(self.__dict__), self._clock.step(LOAD):
                    await self.load_model()
            with self._becoming_warm() as warmup:
                if deferred:
                    await warmup.model_path_on_loop()
                if rest is not None:
                    await warmup.rest(rest)
                if server is not None:
                    async with hooks.own_grpc_name(self, server) as (address, name):
                        await warmup.grpc(address, name)

    @contextmanager
    def _becoming_warm(self) -> Iterator[Warmup]:
        """Go from loaded to warm, or to failed; yield the warm-up, a first one continued by the next."""
        state = self._lifecycle
        resumed = state.phase is Phase.WARM
        state.phase = Phase.WARMING
        try:
            with state.recording(self.__dict__), hooks.warming():
                if state.warmup is None or not resumed:
                    state.warmup = Warmup(self, self._clock)
                yield state.warmup
                state.warmup.finish()
        except BaseException:
            state.phase, state.loaded = Phase.FAILED, False
            raise
        state.phase = Phase.WARM

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker needs to load the model for itself, without what a load has made."""
        return self._lifecycle.without_loaded_state(self.__dict__)


def _loading(load: Any) -> Any:
    """Wrap a subclass's ``load``: the outermost call warms."""
    if inspect.iscoroutinefunction(load):
        raise WarmupError(
            f"{load.__qualname__} is async, but KServe calls load() without await: use async load_model()"
        )

    @functools.wraps(load)
    def wrapper(self: WarmupModel, *args: Any, **kwargs: Any) -> bool:
        return self._load(lambda model: load(model, *args, **kwargs))

    return wrapper


def _constructing(init: Any) -> Any:
    """Wrap a subclass's ``__init__``: a load that it starts is warmed once the constructor is done."""

    @functools.wraps(init)
    def wrapper(self: WarmupModel, *args: Any, **kwargs: Any) -> None:
        state = self._lifecycle
        state.constructing += 1
        try:
            init(self, *args, **kwargs)
        finally:
            state.constructing -= 1
        if (
            not state.constructing
            and state.load_wanted
            and state.phase is Phase.LOADED
            and not self._needs_serving_loop()
        ):
            with state.exclusive(), ends_at_once():
                self._warm_here()

    return wrapper
