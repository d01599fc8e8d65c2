"""What is asked of every framework that compiles: where its cache lies, and what it found there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CacheCount:
    """What one framework's compile cache did for this process so far.

    Attributes:
        framework: Its name, such as ``numba``.
        hit: Programs that came from the cache.
        compiled: Programs that were compiled, as the cache did not have them or could not be asked.
        rejected: Those among ``compiled`` that the cache had and that did not match, or could not be read.
        seconds_saved: Compile time that hits spared; None if the framework does not tell.
        told: Whether the framework tells hits from misses at all; if not, the counts are 0 and mean nothing.
        note: What a person should know of it, in a line; None if nothing.
    """

    framework: str
    hit: int = 0
    compiled: int = 0
    rejected: int = 0
    seconds_saved: float | None = None
    told: bool = True
    note: str | None = None


class CompileCache(Protocol):
    """One framework's compile cache.

    Attributes:
        name: Of the framework, as people write it.
        package: The module whose import means that it is in use. It is never imported just to look.
    """

    @property
    def name(self) -> str:
        """Return its name."""

    @property
    def package(self) -> str:
        """Return the module's name."""

    def variables(self, folder: Path) -> Mapping[str, str]:
        """Return the environment variables that make the framework keep its cache below ``folder``.

        They are set before the framework is imported.
        """

    def switch_on(self, folder: Path) -> None:
        """Do what variables cannot do, or what came too late for them; the framework is imported. May be repeated."""

    def watch(self) -> None:
        """Begin to count, as far as counting needs something installed; the framework is imported. May be repeated."""

    def count(self) -> CacheCount:
        """Return what the cache did so far; the framework is imported."""

    def versions(self) -> Mapping[str, str]:
        """Return what has to match for its cache to be used, by name: its version and what it depends on."""
