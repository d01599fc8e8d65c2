"""numba: functions with ``cache=True`` come from its folder; all others are compiled in every process.

A dispatcher's settings are never changed: ``cache=True`` is not always safe (a function that closes over a global,
or calls one in another file, would be served stale), so only its author can decide it. The note names the functions.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from kserve_warmup.caches.framework import CacheCount

MOST_NAMES = 3
OURS = "NUMBA_CACHE_DIR_OF_KSERVE_WARMUP"
"""The variable that says of numba's folder that it is a bake's, or a start's from it."""


class NumbaCache:
    """Counts what numba's on-disk cache gave, by wrapping ``Cache.load_overload`` and hearing ``numba:compile``."""

    name = "numba"
    package = "numba"

    def __init__(self) -> None:
        self._hit = self._compiled = self._rejected = self._under_way = 0
        self._uncached: dict[str, None] = {}
        self._watched = False

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return where numba keeps what has ``cache=True``."""
        return {"NUMBA_CACHE_DIR": str(folder / "numba"), OURS: str(folder / "numba")}

    def switch_on(self, folder: Path) -> None:
        """Point numba there. A function that was decorated before keeps the place that it had found then."""
        config: Any = sys.modules["numba"].config
        config.CACHE_DIR = str(folder / "numba")

    def watch(self) -> None:
        """Wrap the cache's reader and listen to compiles, once."""
        if self._watched:
            return
        caching: Any = import_module("numba.core.caching")
        event: Any = import_module("numba.core.event")
        original = caching.Cache.load_overload
        caching.Cache.load_overload = self._reader(original)
        event.register("numba:compile", self._listener(event))
        self._watched = True

    def _reader(self, original: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
        def load_overload(cache: Any, sig: Any, context: Any) -> Any:
            forget_fractions(cache)
            try:
                found = original(cache, sig, context)
            except Exception:  # noqa: BLE001  numba lets a damaged pickle's error through; compiling is better
                self._rejected += 1
                cache.flush()
                return None
            if found is not None:
                self._hit += 1
            elif had(cache, sig):
                self._rejected += 1
            return found

        return load_overload

    def _listener(self, event: Any) -> Any:
        outer = self

        class Compiles(event.Listener):  # type: ignore[misc]
            def on_start(self, event: Any) -> None:
                outer._began(event)

            def on_end(self, event: Any) -> None:  # noqa: ARG002  (numba passes it)
                outer._under_way -= 1

        return Compiles()

    def _began(self, event: Any) -> None:
        self._under_way += 1
        if self._under_way > 1:  # what a function calls is compiled with it, and comes from the cache with it
            return
        self._compiled += 1
        dispatcher: Any = (event.data or {}).get("dispatcher")
        if type(getattr(dispatcher, "_cache", None)).__name__ == "NullCache":
            function = dispatcher.py_func
            self._uncached[f"{function.__module__}.{function.__qualname__}"] = None

    def count(self) -> CacheCount:
        """Return the counts since ``watch``; a note names functions that no cache keeps."""
        if not self._watched:
            return CacheCount(self.name, told=False, note="numba was not watched")
        note = None
        if self._uncached:
            names = [*self._uncached]
            more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
            shown = ", ".join(names[:MOST_NAMES]) + more
            note = f"compiled in every process, as they lack cache=True in their decorator: {shown}"
        return CacheCount(self.name, self._hit, self._compiled, self._rejected, note=note)

    def versions(self) -> Mapping[str, str]:
        """Return numba's and llvmlite's version, and the processor that numba compiles for."""
        llvmlite: Any = import_module("llvmlite")
        binding: Any = import_module("llvmlite.binding")
        config: Any = sys.modules["numba"].config
        return {
            "numba": sys.modules["numba"].__version__,
            "llvmlite": llvmlite.__version__,
            "numba cpu": config.CPU_NAME or binding.get_host_cpu_name(),
            "numba cpu features": config.CPU_FEATURES or binding.get_host_cpu_features().flatten(),
        }


def forget_fractions(cache: Any) -> None:
    """Compare the time of a baked function's source in whole seconds, which is what is left of it in an image.

    numba before 0.68 takes the exact time for the source's version. An image that is pushed or saved keeps whole
    seconds (moby/moby#48447), so that all that was baked into it would be stale elsewhere (numba/numba#10163).
    Caches that are not a bake's are left to numba.
    """
    file, ours = getattr(cache, "_cache_file", None), os.environ.get(OURS)
    if file is None or not ours or Path(ours) not in Path(file._index_path).parents:  # noqa: SLF001
        return
    stamp = file._source_stamp  # noqa: SLF001
    if isinstance(stamp, tuple) and stamp and isinstance(stamp[0], float):
        file._source_stamp = (float(int(stamp[0])), *stamp[1:])  # noqa: SLF001


def had(cache: Any, sig: Any) -> bool:
    """Tell whether the folder has this function for this signature, though it was not used."""
    file = getattr(cache, "_cache_file", None)
    if file is None or not Path(file._index_path).exists():  # noqa: SLF001
        return False
    known = file._load_index()  # noqa: SLF001
    return not known or any(key[0] == sig for key in known)  # an index that reads as empty: stale, or another version
