"""JAX: its persistent compilation cache. On some CPU hosts every entry is rejected on reload (jax 38445): counted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kserve_warmup.caches.framework import CacheCount

HIT = "/jax/compilation_cache/cache_hits"
SAVED = "/jax/compilation_cache/compile_time_saved_sec"
COMPILE = "/jax/core/compile/backend_compile_duration"


class JaxCache:
    """Counts JAX's own monitoring events; a read that fails is seen where it raises."""

    name = "JAX"
    package = "jax"

    def __init__(self) -> None:
        self._hit = self._asked = self._rejected = 0
        self._saved = 0.0
        self._watched = False

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return the folder, and that every program is worth keeping, however small and quickly compiled."""
        return {
            "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES": "none",  # else the folder's path is part of each key
        }

    def switch_on(self, folder: Path) -> None:
        """Set the same by ``jax.config``, which also works before the first compile of a JAX imported earlier."""
        config: Any = sys.modules["jax"].config
        config.update("jax_compilation_cache_dir", str(folder / "jax"))
        config.update("jax_persistent_cache_min_compile_time_secs", 0)
        config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        config.update("jax_persistent_cache_enable_xla_caches", "none")

    def watch(self) -> None:
        """Listen to JAX, once."""
        if self._watched:
            return
        from jax import monitoring
        from jax._src import compilation_cache

        original = compilation_cache.get_executable_and_time

        def get_executable_and_time(*args: Any, **kwargs: Any) -> Any:
            try:
                return original(*args, **kwargs)
            except Exception:
                self._rejected += 1
                raise

        compilation_cache.get_executable_and_time = get_executable_and_time
        monitoring.register_event_listener(self._event)
        monitoring.register_event_duration_secs_listener(self._duration)
        self._watched = True

    def _event(self, event: str, **_: Any) -> None:
        self._hit += event == HIT

    def _duration(self, event: str, duration_secs: float, **_: Any) -> None:
        self._asked += event == COMPILE
        self._saved += duration_secs if event == SAVED else 0.0

    def count(self) -> CacheCount:
        """Return the counts since ``watch``. JAX times a hit's read as a compile, so hits are taken off."""
        if not self._watched:
            return CacheCount(self.name, told=False, note="JAX was not watched")
        note = "JAX could not read entries of its cache on this host (jax 38445)" if self._rejected else None
        compiled = max(self._asked - self._hit, 0)
        return CacheCount(self.name, self._hit, compiled, self._rejected, max(self._saved, 0.0), note=note)

    def versions(self) -> Mapping[str, str]:
        """Return the version of JAX and of the compiler it brings."""
        found = {name: sys.modules.get(name) for name in ("jax", "jaxlib")}
        return {name: module.__version__ for name, module in found.items() if module is not None}
