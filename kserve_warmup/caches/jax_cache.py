"""JAX: its persistent compilation cache. On some CPU hosts every entry is rejected on reload (jax 38445): counted.

What an entry is refused for, the error says: another machine, or damage, which is caught before or as it is parsed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kserve_warmup.caches.framework import CacheCount

HIT = "/jax/compilation_cache/cache_hits"
SAVED = "/jax/compilation_cache/compile_time_saved_sec"
COMPILE = "/jax/core/compile/backend_compile_duration"
MACHINE = "machine"
"""What XLA's words of a refused machine have, and none of its words of damage: cpu_aot_loader.cc compares features."""


class JaxCache:
    """Counts JAX's own monitoring events; a read that fails is seen where it raises."""

    name = "JAX"
    package = "jax"

    def __init__(self) -> None:
        self._hit = self._asked = self._rejected = 0
        self._saved = 0.0
        self._why: dict[str, int] = {}
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
            except Exception as error:
                self._rejected += 1
                why = f"{type(error).__name__}: {' '.join(str(error).split())}"[:150]
                self._why[why] = self._why.get(why, 0) + 1
                raise

        compilation_cache.get_executable_and_time = get_executable_and_time
        monitoring.register_event_listener(self._event)
        monitoring.register_event_duration_secs_listener(self._duration)
        self._watched = True

    def _event(self, event: str, **_: Any) -> None:
        self._hit += event == HIT

    def _duration(self, event: str, duration_secs: float, **_: Any) -> None:
        self._asked += event == COMPILE
        self._saved += max(duration_secs, 0.0) if event == SAVED else 0.0

    def count(self) -> CacheCount:
        """Return the counts since ``watch``. JAX times a hit's read as a compile, so hits are taken off.

        Entries keep whole seconds: what quicker compiles would have taken is not told.
        """
        if not self._watched:
            return CacheCount(self.name, told=False, note="JAX was not watched")
        compiled = max(self._asked - self._hit, 0)
        return CacheCount(self.name, self._hit, compiled, self._rejected, self._saved or None, note=self._note())

    def _note(self) -> str | None:
        if not self._why:
            return None
        first = next(iter(self._why))
        machine = sum(number for why, number in self._why.items() if MACHINE in why.lower())
        damaged = self._rejected - machine
        kinds = (
            (
                machine,
                f"{machine} entries of JAX's cache were made for another machine, or this host takes them for it",
            ),
            (damaged, f"{damaged} entries of JAX's cache are damaged, or are none of its"),
        )
        said = "; ".join(words for number, words in kinds if number)
        return f"{said}{' (jax 38445)' if machine else ''}: {first}"

    def versions(self) -> Mapping[str, str]:
        """Return the version of JAX and of the compiler it brings."""
        found = {name: sys.modules.get(name) for name in ("jax", "jaxlib")}
        return {name: module.__version__ for name, module in found.items() if module is not None}
