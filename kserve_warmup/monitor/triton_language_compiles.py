"""Triton's language calls one hook after each compile of a kernel; one that is there already is called before ours."""

from __future__ import annotations

import sys
from typing import Any

from kserve_warmup.monitor.compile_hooks import Tell

FRAMEWORK, MODULE = "triton-language", "triton.knobs"


def install(tell: Tell) -> None:
    """Chain the hook; see :class:`~kserve_warmup.monitor.compile_hooks.CompileHook`."""
    runtime = sys.modules[MODULE].runtime
    before = runtime.jit_post_compile_hook
    if getattr(before, "of_kserve_warmup", False):
        return

    def compiled(*args: Any, **kwargs: Any) -> Any:
        answer = before(*args, **kwargs) if before is not None else None
        function = kwargs.get("fn")
        named = getattr(function, "name", None) or getattr(function, "__name__", None)
        tell(str(named or kwargs.get("repr") or "a kernel"), None)
        return answer

    compiled.of_kserve_warmup = True  # type: ignore[attr-defined]
    runtime.jit_post_compile_hook = compiled
