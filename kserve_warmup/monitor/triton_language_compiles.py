"""Triton's language calls one hook after each compile of a kernel; one that is there already is called before ours."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from kserve_warmup.monitor.compile_hooks import Tell

FRAMEWORK, MODULE = "triton-language", "triton.runtime.jit"


def install(tell: Tell) -> None:
    """Chain the hook; see :class:`~kserve_warmup.monitor.compile_hooks.CompileHook`."""
    knobs = sys.modules.get("triton.knobs")
    if knobs is not None:
        holder, name = knobs.runtime, "jit_post_compile_hook"
    else:  # before 3.4
        holder, name = sys.modules[MODULE].JITFunction, "compiled_hook"
    before = getattr(holder, name)
    if getattr(before, "of_kserve_warmup", False):
        return

    def compiled(*args: Any, **kwargs: Any) -> Any:
        answer = before(*args, **kwargs) if before is not None else None
        with contextlib.suppress(Exception):  # nothing may reach the kernel's caller
            tell(_name(kwargs), None)
        return answer

    compiled.of_kserve_warmup = True  # type: ignore[attr-defined]
    setattr(holder, name, compiled)


def _name(facts: dict[str, Any]) -> str:
    function = facts.get("fn")
    return str(getattr(function, "name", None) or getattr(function, "__name__", None) or "a kernel")
