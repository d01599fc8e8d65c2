"""JAX tells of each compile through its monitoring events; a hit in its compile cache is told as a short one."""

from __future__ import annotations

import sys
from typing import Any

from kserve_warmup.monitor.compile_hooks import Tell

FRAMEWORK, MODULE = "jax", "jax.monitoring"
_EVENT = "/jax/core/compile/backend_compile_duration"


def install(tell: Tell) -> None:
    """Listen to JAX's durations; see :class:`~kserve_warmup.monitor.compile_hooks.CompileHook`."""

    def listen(event: str, duration: Any = None, *_: Any, **facts: Any) -> None:
        if event == _EVENT:
            tell(str(facts.get("fun_name") or "a program"), duration if isinstance(duration, int | float) else None)

    sys.modules[MODULE].register_event_duration_secs_listener(listen)
