"""What a start does with what ``kserve-warmup bake`` made: checks it, and points frameworks to what fits.

Without a baked folder nothing is imported or read here. Only ``KSERVE_WARMUP_CACHE=require`` ever ends a start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kserve_warmup.caches import frameworks
from kserve_warmup.caches.framework import CacheCount
from kserve_warmup.errors import WarmupError, WarmupFailedError

if TYPE_CHECKING:
    from kserve_warmup.caches.fingerprint import Seal

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

DEFAULT = Path("/opt/warm")
HOW = "bake it anew here, or set KSERVE_WARMUP_CACHE=use"


class RequiredCacheError(WarmupFailedError, SystemExit):
    """Baked caches are required and cannot be used: uncaught, one line and exit code 1."""

    def __init__(self, why: str) -> None:
        """Take why."""
        super().__init__(f"KSERVE_WARMUP_CACHE=require: {why}: {HOW}")
        self.code = f"kserve-warmup: {self}"


@dataclass
class Baked:
    """What became of the baked folder in this process.

    Attributes:
        begun: Whether it was looked at.
        folder: Where it lies; None if there is none, or it is not trusted or not readable.
        caches: The private folder that frameworks are pointed to; None if no cache is used.
        files: How many files of the baked folder lie there.
        note: Why caches are not used, or not wholly; None if all is well.
        required: Whether programs that the caches should hold may not be compiled.
        compiled: Programs by framework that were compiled when it was baked, caches and all.
        profile: The profile's seal, if there is one.
        said: Differences that refuse nothing, until there is a log to say them in.
    """

    begun: bool = False
    folder: Path | None = None
    caches: Path | None = None
    files: int = 0
    note: str | None = None
    required: bool = False
    compiled: Mapping[str, int] = field(default_factory=dict)
    profile: Seal | None = None
    said: tuple[str, ...] = ()


BAKED = Baked()
"""This process's."""


def begin(command: Sequence[str] = (), tell: Callable[[str], None] = logger.warning) -> None:
    """Check the baked folder and point frameworks to its caches, once in a process, before they are imported.

    Args:
        command: What this process is about to become, as its models may run on another Python than this.
        tell: Hears in a line why caches are not used, or not wholly.

    Raises:
        RequiredCacheError: the caches are required, and cannot be used.
    """
    if BAKED.begun:
        return
    BAKED.begun = True
    mode = os.environ.get("KSERVE_WARMUP_CACHE") or "use"  # whether the settings are sound is theirs to say, later
    named = os.environ.get("KSERVE_WARMUP_BAKED")
    BAKED.required = mode == "require"
    if mode not in ("use", "require"):
        return
    folder = Path(named) if named else DEFAULT
    try:
        if not named and not BAKED.required and not folder.is_dir():
            return
        _use(folder, command)
    except (WarmupError, OSError, ValueError) as error:
        words = f"{error.filename or folder}: {error.strerror}" if isinstance(error, OSError) and error.errno else error
        BAKED.note = f"baked caches are not used: {words}"
    except Exception as error:  # noqa: BLE001  whatever it is, a cold start is better than none
        BAKED.note = f"baked caches are not used: {type(error).__name__}: {error}"
    if BAKED.note:
        if BAKED.required:
            raise RequiredCacheError(BAKED.note)
        tell(BAKED.note)


def attend() -> None:
    """Have what is imported by now use its cache and be counted; called before a load and after it."""
    said, BAKED.said = BAKED.said, ()
    for line in said:
        logger.info("%s: %s", BAKED.folder, line)
    if BAKED.caches is not None:
        frameworks.switch_on_all(BAKED.caches)
    frameworks.watch_all()


def outcome() -> tuple[CacheCount, ...]:
    """Return what caches gave to the frameworks that compiled something, or of which that cannot be told."""
    found = frameworks.counts(untold=BAKED.caches is not None)
    return tuple(one for one in found if one.hit or one.compiled or (BAKED.caches is not None and not one.told))


def refuse_compiled(counts: tuple[CacheCount, ...]) -> None:
    """Find out whether caches that are required held all that they can.

    Raises:
        WarmupFailedError: they did not; names the framework.
    """
    if not BAKED.required:
        return
    for one in counts:
        known = BAKED.compiled.get(one.framework, 0)
        if one.told and one.compiled > known:
            what = f"{one.framework} compiled {one.compiled} programs, {known} of which no cache keeps"
            raise WarmupFailedError(f"KSERVE_WARMUP_CACHE=require: {what}: {HOW}")


def baked_profile() -> Path | None:
    """Return where the profile lies that was baked, None if there is none that is as it was baked."""
    if BAKED.folder is None or BAKED.profile is None:
        return None
    from kserve_warmup.caches.sealed import not_as_baked

    file = BAKED.folder / "profile.json"
    return None if not_as_baked(file, BAKED.profile) else file


def _use(folder: Path, command: Sequence[str]) -> None:
    from kserve_warmup.caches.fingerprint import PROFILE, read_fingerprint
    from kserve_warmup.caches.interpreter import python_of
    from kserve_warmup.caches.sealed import private_copy
    from kserve_warmup.caches.this_machine import of_this_machine
    from kserve_warmup.caches.trust import distrusted

    if not folder.is_dir():
        raise WarmupError(f"{folder} is no folder: name what 'kserve-warmup bake' made, or unset KSERVE_WARMUP_BAKED")
    folder = folder.resolve()
    writable = os.environ.get("KSERVE_WARMUP_CACHE_TRUST") == "writable"
    if not writable and (why := distrusted(folder)):
        raise WarmupError(why)
    made = read_fingerprint(folder)
    samples = Path(os.environ.get("KSERVE_WARMUP_SAMPLES") or "/mnt/models/warmup")
    here = of_this_machine(samples, python_program=python_of(command) if command else None)
    BAKED.folder, BAKED.profile, BAKED.compiled = folder, made.files.get(PROFILE), made.compiled
    BAKED.said = made.only_said(here)
    if refused := made.refusing(here):
        raise WarmupError(f"{folder} does not fit: {'; '.join(refused)}")
    found = private_copy(folder, made, here, copied=writable)
    BAKED.caches, BAKED.files = found.caches, found.files
    os.environ.update(frameworks.variables(found.caches))
    if found.problems:
        BAKED.note = f"baked caches are not used wholly: {'; '.join(found.problems)}"
