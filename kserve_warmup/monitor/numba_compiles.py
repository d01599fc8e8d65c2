"""Numba broadcasts an event when a compile begins and when it ends; those of one function may nest others'."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from kserve_warmup.monitor.compile_hooks import Tell

FRAMEWORK, MODULE = "numba", "numba.core.event"


def install(tell: Tell) -> None:
    """Listen to Numba's events; see :class:`~kserve_warmup.monitor.compile_hooks.CompileHook`."""
    event = sys.modules[MODULE]
    under_way = threading.local()

    def notify(told: Any) -> None:
        try:
            begun = under_way.__dict__.setdefault("begun", [])
            if told.is_start:
                begun.append(time.perf_counter())
            elif told.is_end:
                tell(_name(told), time.perf_counter() - begun.pop() if begun else None)
        except Exception:  # noqa: BLE001, S110  (nothing may reach the function that is compiled)
            pass

    event.register("numba:compile", _listener(event, notify))


def _listener(event: Any, notify: Any) -> Any:
    """Return a listener of Numba's own kind, which its registry asks for."""
    kind = type(
        "Compiles",
        (event.Listener,),
        {"on_start": lambda _, told: notify(told), "on_end": lambda _, told: notify(told)},
    )
    return kind()


def _name(told: Any) -> str:
    function = getattr((told.data or {}).get("dispatcher"), "py_func", None)
    return str(getattr(function, "__qualname__", "a function"))
