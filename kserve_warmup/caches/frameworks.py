"""All frameworks that compile, asked together. One whose internals have changed is named, and breaks nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from kserve_warmup.caches.framework import CacheCount, CompileCache
from kserve_warmup.caches.inductor_cache import InductorCache
from kserve_warmup.caches.jax_cache import JaxCache
from kserve_warmup.caches.numba_cache import NumbaCache
from kserve_warmup.caches.onnxruntime_cache import ONNXRUNTIME
from kserve_warmup.caches.openvino_cache import OPENVINO
from kserve_warmup.caches.torchscript_cache import TORCHSCRIPT
from kserve_warmup.caches.triton_language_cache import TritonLanguageCache
from kserve_warmup.caches.untold import UntoldCache

T = TypeVar("T")
UNKNOWN = "compiles, and it is not known what its cache gives"
FRAMEWORKS: tuple[CompileCache, ...] = (
    NumbaCache(),
    JaxCache(),
    InductorCache(),
    TritonLanguageCache(),
    TORCHSCRIPT,
    ONNXRUNTIME,
    OPENVINO,
    UntoldCache("TensorRT", "tensorrt", UNKNOWN),
    UntoldCache("TensorFlow", "tensorflow", UNKNOWN),
    UntoldCache("CuPy", "cupy", UNKNOWN),
)
_broken: dict[str, str] = {}


def in_use() -> tuple[CompileCache, ...]:
    """Return the frameworks that this process has imported; none is imported to look."""
    return tuple(one for one in FRAMEWORKS if sys.modules.get(one.package) is not None)


def variables(folder: Path) -> dict[str, str]:
    """Return the environment variables of all, set before any framework is imported."""
    return {name: value for one in FRAMEWORKS for name, value in one.variables(folder).items()}


def switch_on_all(folder: Path) -> None:
    """Point every framework that is imported to its cache below ``folder``. May be repeated."""
    for one in in_use():
        guarded(one, lambda one=one: one.switch_on(folder))  # type: ignore[misc]


def watch_all() -> None:
    """Begin to count in every framework that is imported. May be repeated."""
    for one in in_use():
        guarded(one, one.watch)


def counts(*, untold: bool = True) -> tuple[CacheCount, ...]:
    """Return what the cache of each framework in use did so far; one that failed is not told, with a note.

    Args:
        untold: Whether to look for those of which nothing can be told.
    """
    return tuple(counted(one) for one in in_use() if not isinstance(one, UntoldCache) or (untold and _seen(one)))


def _seen(one: UntoldCache) -> bool:
    return guarded(one, one.used) is not False  # if that cannot be told either, it is named


def counted(one: CompileCache) -> CacheCount:
    """Return one framework's count, or that it cannot be told and why."""
    found = None if one.name in _broken else guarded(one, one.count)
    return found or CacheCount(one.name, told=False, note=_broken.get(one.name))


def versions() -> dict[str, str]:
    """Return what has to match for the caches of all frameworks in use, by name."""
    return {name: value for one in in_use() for name, value in (guarded(one, one.versions) or {}).items()}


def guarded(one: CompileCache, act: Callable[[], T]) -> T | None:
    """Return what ``act`` returns; None if the framework is not as we know it, which its count then says."""
    try:
        return act()
    except Exception as error:  # noqa: BLE001  whatever a changed framework raises, serving goes on
        _broken[one.name] = f"{one.name} is not as this version knows it: {type(error).__name__}: {error}"[:300]
        return None
