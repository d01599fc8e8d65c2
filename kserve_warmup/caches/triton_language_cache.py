"""The Triton language: GPU kernels that it compiles, kept by a key of source, options and GPU architecture."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kserve_warmup.caches.framework import CacheCount


class TritonLanguageCache:
    """Counts by the compiler's listener (Triton 3.4 and later), and calls the one that was there before."""

    name = "Triton language"
    package = "triton.compiler"

    def __init__(self) -> None:
        self._hit = self._compiled = 0
        self._watched = False

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return where kernels are kept."""
        return {"TRITON_CACHE_DIR": str(folder / "triton-language")}

    def switch_on(self, folder: Path) -> None:
        """Set the folder for kernels that are compiled from now on."""
        knobs: Any = sys.modules["triton"].knobs
        knobs.cache.dir = str(folder / "triton-language")

    def watch(self) -> None:
        """Put a listener before the one that is there, once."""
        if self._watched:
            return
        compilation: Any = sys.modules["triton"].knobs.compilation
        before = compilation.listener

        def listener(*args: Any, **kwargs: Any) -> None:
            hit = kwargs.get("cache_hit", False)
            self._hit += bool(hit)
            self._compiled += not hit
            if before is not None:
                before(*args, **kwargs)

        compilation.listener = listener
        self._watched = True

    def count(self) -> CacheCount:
        """Return the kernels since ``watch``."""
        if not self._watched:
            return CacheCount(self.name, told=False, note="the Triton language was not watched")
        return CacheCount(self.name, self._hit, self._compiled)

    def versions(self) -> Mapping[str, str]:
        """Return its version; the GPU is torch's to tell."""
        return {"triton": str(sys.modules["triton"].__version__)}
