"""Where one model stands between created and warm, in one process; and what of it may be sent to another process."""

from __future__ import annotations

import copy
import enum
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kserve_warmup.timeline import Stopwatch
    from kserve_warmup.warming import Warmup


class Phase(enum.Enum):
    """The steps towards a warm model."""

    COLD = "cold"
    LOADING = "loading"
    LOADED = "loaded, its warm-up waits for the server's event loop"
    WARMING = "warming"
    WARM = "warm"
    FAILED = "failed"


_ABSENT = object()
_held: ContextVar[frozenset[int]] = ContextVar("kserve_warmup_held", default=frozenset())
"""The lifecycles whose load runs in this context. A thread's id would not do: requests share the loop's thread."""


@dataclass
class Lifecycle:
    """The state that a model keeps about itself.

    It never crosses a process: a copy that was pickled to a worker starts cold and only remembers whether it has to
    load (``load_wanted``), because KServe's children are handed the parent's models and never call ``load()``.
    """

    phase: Phase = Phase.COLD
    loaded: bool = False
    load_wanted: bool = False
    constructing: int = 0
    served: bool = False
    pending: bool = False
    """The server has started, and the serving loop has not yet come to this model."""
    warmup: Warmup | None = None
    clock: Stopwatch | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _before: dict[str, Any] = field(default_factory=dict)
    _recordings: list[dict[str, Any]] = field(default_factory=list)

    def __reduce__(self) -> tuple[type[Lifecycle], tuple[Phase, bool, bool]]:
        """Pickle as a cold copy; what was set ready without a load is loaded in the copy too."""
        ready_made = self.loaded and not self.load_wanted
        return (Lifecycle, (Phase.LOADED if ready_made else Phase.COLD, ready_made, self.load_wanted))

    @property
    def busy(self) -> bool:
        """Return whether a load or a warm-up is under way."""
        return self._lock.locked()

    @property
    def mine(self) -> bool:
        """Return whether the load under way is the caller's own."""
        return id(self) in _held.get()

    @contextmanager
    def exclusive(self) -> Iterator[bool]:
        """Yield True to the only one who may load or warm now, False to everybody else."""
        if not self._lock.acquire(blocking=False):
            yield False
            return
        token = _held.set(_held.get() | {id(self)})
        try:
            yield True
        finally:
            _held.reset(token)
            self._lock.release()

    @contextmanager
    def recording(self, state: dict[str, Any]) -> Iterator[None]:
        """Note which attributes in ``state`` are made in this block, with what they were before.

        Sessions, devices and clients made by a load cannot be pickled and must be made again in each worker. Builtin
        containers are copied, since a load may fill one that the constructor made.
        """
        self._recordings.append({key: _snapshot(value) for key, value in state.items()})
        try:
            yield
        finally:
            self._before = _changed(self._recordings.pop(), state) | self._before

    def without_loaded_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return ``state`` as it was before anything was loaded, also while a load or warm-up is under way.

        KServe starts workers while its parent process still warms its own gRPC path.
        """
        result, before = dict(state), self._before
        for recording in self._recordings:
            before = _changed(recording, result) | before
        for key, old in before.items():
            if old is _ABSENT:
                result.pop(key, None)
            else:
                result[key] = old
        return result


def _changed(before: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Return what was ``before`` in the attributes that are others in ``state``, _ABSENT for those that are new."""
    pairs = {key: (before.get(key, _ABSENT), state.get(key, _ABSENT)) for key in state.keys() | before.keys()}
    return {key: old for key, (old, new) in pairs.items() if not _same(old, new)}


def _snapshot(value: Any) -> Any:
    return copy.copy(value) if type(value) in (dict, list, set) else value


def _same(old: Any, new: Any) -> bool:
    """Compare by identity; copied containers by the identity of what they hold."""
    if type(old) is not type(new) or type(old) not in (dict, list, set):
        return old is new
    if len(old) != len(new):
        return False
    if isinstance(old, dict):
        return all(key in new and new[key] is value for key, value in old.items())
    if isinstance(old, set):
        return bool(old == new)
    return all(a is b for a, b in zip(old, new, strict=True))
