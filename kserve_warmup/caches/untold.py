"""Frameworks that compile, or optimise as they load, and do not tell what a cache gave: named, never assumed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kserve_warmup.caches.framework import CacheCount


@dataclass(frozen=True, slots=True)
class UntoldCache:
    """A framework of which we know that it compiles, and no more; its settings are never touched.

    Attributes:
        name: Of the framework, as people write it.
        package: The module whose import means that it is in use.
        note: Why it is not told, in a line.
        used: Whether it is in use, where the import does not mean that; the framework is imported.
    """

    name: str
    package: str
    note: str
    used: Callable[[], bool] = lambda: True

    def variables(self, folder: Path) -> Mapping[str, str]:  # noqa: ARG002
        """Return nothing."""
        return {}

    def switch_on(self, folder: Path) -> None:
        """Do nothing."""

    def watch(self) -> None:
        """Do nothing."""

    def count(self) -> CacheCount:
        """Return that it is not told, and why."""
        return CacheCount(self.name, told=False, note=self.note)

    def versions(self) -> Mapping[str, str]:
        """Return its version if it has one."""
        version = getattr(sys.modules.get(self.package), "__version__", None)
        return {self.package: str(version)} if version is not None else {}
