"""What a model carries through one process: its state, its warm-up, and who waits for either."""

from __future__ import annotations

import asyncio
import copy
import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kserve_warmup.serving.state import UNDER_WAY, ModelState, Phase
from kserve_warmup.timeline import Stopwatch

if TYPE_CHECKING:
    from kserve_warmup.serving.warmup import Warmup

_ABSENT = object()
_ATTRIBUTE = "_kserve_warmup_lifecycle"

_LOADING: ContextVar[frozenset[int]] = ContextVar("kserve_warmup_loading", default=frozenset())
"""The lifecycles whose load runs in this context. A thread's id would not do: requests share the loop's thread."""

_FOLLOWED: ContextVar[tuple[Lifecycle, asyncio.Task[None]] | None] = ContextVar("kserve_warmup_followed", default=None)
"""The warm-up that a load in this context has started: whoever asked for the load hears when the model is warm."""


LONG_SECONDS = 10.0
"""After which a model that is asked for and that nothing warms says why."""

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures


SHUT: set[int] = set()
"""Ids of lifecycles whose models may not be open to users. Each request looks at it, and finds it empty when all is
warm: so a plain set, whose ids may be stale. Who finds it filled looks closely."""


class BusyError(Exception):
    """A load or a warm-up is under way already."""


class MadeByLoad:
    """Remembers what attributes were before anything was loaded: what a load makes stays behind in its process.

    Sessions, devices and clients cannot be pickled and must be made again in each worker.
    """

    def __init__(self) -> None:
        self._before: dict[str, Any] = {}
        self._recordings: list[dict[str, Any]] = []

    @contextmanager
    def recording(self, attributes: dict[str, Any]) -> Iterator[None]:
        """Note which of ``attributes`` are made or changed in this block.

        Builtin containers are copied, since a load may fill one that the constructor made.
        """
        self._recordings.append({key: _snapshot(value) for key, value in attributes.items()})
        try:
            yield
        finally:
            self._before = _changed(self._recordings.pop(), attributes) | self._before

    def without(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return ``attributes`` as they were before anything was loaded, also while a recording is under way.

        KServe starts workers while its parent process still warms its own gRPC path.
        """
        result, before = dict(attributes), self._before
        for recording in self._recordings:
            before = _changed(recording, result) | before
        for key, old in before.items():
            if old is _ABSENT:
                result.pop(key, None)
            else:
                result[key] = old
        return result


def _changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return what was ``before`` in the attributes that are others ``now``, _ABSENT for those that are new."""
    pairs = {key: (before.get(key, _ABSENT), now.get(key, _ABSENT)) for key in now.keys() | before.keys()}
    return {key: old for key, (old, new) in pairs.items() if not _same(old, new)}


def _snapshot(value: Any) -> Any:
    return copy.copy(value) if type(value) in (dict, list, set) else value


def _same(old: Any, new: Any) -> bool:
    """Compare by identity; copied containers by the identity of what they hold."""
    if type(old) is not type(new) or type(old) not in (dict, list, set):
        return old is new
    return bool(_held(old) == _held(new))


def _held(container: Any) -> Any:
    if isinstance(container, dict):
        return {key: id(value) for key, value in container.items()}
    return type(container)(map(id, container))


class Lifecycle:
    """One model in one process.

    It never crosses a process: a copy that was pickled to a worker starts cold and only remembers whether it has to
    load, because KServe's workers are handed the parent's models and never call ``load()``.

    Attributes:
        state: Where the model stands.
        warmup: Its warm-up; None until it is loaded.
        clock: Its way to ready.
        registered: Whether this process's server has registered it, and so calls its hooks.
        stopped: Whether it was unloaded.
        constructing: How many constructors of it are running.
        engine: What the model itself says with ``self.engine``.
        hook_wanted: Whether KServe is to call ``start_engine`` whatever the model says.
        engine_starting: Whether its own ``start_engine`` has begun.
        engine_up: Set once the model's own engine runs.
        made_by_load: Which of its attributes stay behind in this process.
    """

    def __init__(self, state: ModelState | None = None) -> None:
        """Begin with a model that is not loaded."""
        self.state = state or ModelState()
        self.warmup: Warmup | None = None
        self.clock = Stopwatch()
        self.registered = self.stopped = self.engine = self.engine_starting = self.hook_wanted = False
        self.constructing = 0
        self.engine_up = threading.Event()
        self.made_by_load = MadeByLoad()
        self._waits: asyncio.Event | None = None
        self._asked: float | None = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[Lifecycle], tuple[ModelState]]:
        """Pickle as a cold copy."""
        return (Lifecycle, (self.state.copied(),))

    def move(self, state: ModelState) -> None:
        """Go on to ``state``."""
        self.state = state
        (SHUT.add if self.not_yet else SHUT.discard)(id(self))
        if state.phase is Phase.WAITING and self._waits:
            self._waits.set()

    @property
    def not_yet(self) -> bool:
        """Return whether the model is on its way to warm."""
        return self.state.phase in UNDER_WAY or self.state.phase is Phase.LOADED

    @property
    def loading_here(self) -> bool:
        """Return whether the load under way is the caller's own."""
        return id(self) in _LOADING.get()

    @contextmanager
    def loading(self, *, again: bool) -> Iterator[None]:
        """Be the only one who loads.

        Args:
            again: whether a model that is loaded and not yet warm may be loaded once more.

        Raises:
            BusyError: a load or a warm-up is under way, or about to begin.
        """
        with self._lock:
            if self.state.phase in UNDER_WAY or (self.state.phase is Phase.LOADED and not again):
                raise BusyError
            self.clock = Stopwatch(reload=self.warmup is not None)
            self.warmup, self.stopped = None, False
            self.move(self.state.load_begins())
        token = _LOADING.set(_LOADING.get() | {id(self)})
        try:
            yield
        except BaseException:
            self.move(self.state.load_ends(loaded=False))
            raise
        finally:
            _LOADING.reset(token)

    def served_anew(self) -> None:
        """Begin again with a model that was stopped with an earlier server of this process: new paths are to warm."""
        if self.stopped and self.state.healthy:
            self.warmup, self.clock = None, Stopwatch(reload=True)
            self.move(replace(self.state, phase=Phase.LOADED))
        self.stopped = False

    def asked_before_served(self, name: str) -> None:
        """Say why a loaded model stays unready if it is asked for long and no server of KServe's has come to it."""
        now = time.monotonic()
        self._asked = now if self._asked is None else self._asked
        if now - self._asked > LONG_SECONDS:
            self._asked = math.inf
            logger.warning(
                "%s: not ready: it is loaded, but no hook of KServe's server was called in this process, so it cannot "
                "be warmed: start it with kserve.ModelServer().start([model]), and keep the application's lifespan",
                name,
            )

    async def settled_or_waits(self, task: asyncio.Task[None]) -> None:
        """Wait until the warm-up ``task`` is through, or waits for something itself."""
        self._waits = asyncio.Event()  # each server of this process has a loop of its own
        waits = asyncio.ensure_future(self._waits.wait())
        await asyncio.wait({task, waits}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()

    def follow(self, task: asyncio.Task[None]) -> None:
        """Let the caller's context wait for ``task`` when it asks whether the model is healthy."""
        _FOLLOWED.set((self, task))

    async def followed(self) -> None:
        """Wait for the warm-up that the caller's own load has started, if there is one."""
        found = _FOLLOWED.get()
        if found is not None and found[0] is self:
            await asyncio.wait({found[1]})


def lifecycle_of(model: Any) -> Lifecycle:
    """Return a model's lifecycle, made on first use: a subclass may set ready before it calls our constructor."""
    found: Lifecycle | None = model.__dict__.get(_ATTRIBUTE)
    if found is None:
        found = model.__dict__[_ATTRIBUTE] = Lifecycle()
    return found
