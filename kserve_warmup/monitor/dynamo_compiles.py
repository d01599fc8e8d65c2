"""torch.compile calls back when Dynamo begins and ends to compile; the frame that is compiled is on the stack then."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from types import CodeType
from typing import Any

from kserve_warmup.monitor.compile_hooks import Tell

FRAMEWORK, MODULE = "torch.compile", "torch._dynamo.callback"
_DEPTH = 20


def install(tell: Tell) -> None:
    """Have Dynamo call back; see :class:`~kserve_warmup.monitor.compile_hooks.CompileHook`."""
    handler = sys.modules[MODULE].callback_handler
    under_way = threading.local()

    def begin(*_: Any, **__: Any) -> None:
        with contextlib.suppress(Exception):  # nothing may reach the function that is compiled
            under_way.begun = (_name(), time.perf_counter())

    def end(*_: Any, **__: Any) -> None:
        name, begun = under_way.__dict__.pop("begun", ("a function", None))
        tell(name, None if begun is None else time.perf_counter() - begun)

    handler.register_start_callback(begin)
    handler.register_end_callback(end)


def _name() -> str:
    """Return the name of the function that the callers of this one compile."""
    frame = sys._getframe(1)  # noqa: SLF001
    for _ in range(_DEPTH):
        code = frame.f_locals.get("code")
        if isinstance(code, CodeType):
            return str(getattr(code, "co_qualname", code.co_name))  # co_qualname is new in Python 3.11
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "a function"
