"""What a start does with what ``kserve-warmup bake`` made: checks it, and points frameworks to what fits.

Without a baked folder nothing is imported or read here. Only ``KSERVE_WARMUP_CACHE=require`` ever ends a start.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kserve_warmup.caches import frameworks
from kserve_warmup.caches.framework import CacheCount
from kserve_warmup.errors import WarmupError, WarmupFailedError

if TYPE_CHECKING:
    from kserve_warmup.caches.fingerprint import Fingerprint, Seal

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
        note: Why caches are not used, or not wholly; None if all is well.
        required: Whether programs that the caches should hold may not be compiled.
        compiled: Programs by framework that were compiled when it was baked, caches and all.
        profile: The profile's seal, if there is one.
        said: Differences that refuse nothing, until there is a log to say them in.
    """

    begun: bool = False
    folder: Path | None = None
    caches: Path | None = None
    note: str | None = None
    required: bool = False
    compiled: Mapping[str, int] = field(default_factory=dict)
    profile: Seal | None = None
    said: tuple[str, ...] = ()


BAKED = Baked()
"""This process's."""


def begin() -> None:
    """Check the baked folder and point frameworks to its caches, once in a process, before they are imported.

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
        _use(folder)
    except (WarmupError, OSError, ValueError) as error:
        words = f"{error.filename or folder}: {error.strerror}" if isinstance(error, OSError) and error.errno else error
        BAKED.note = f"baked caches are not used: {words}"
    except Exception as error:  # noqa: BLE001  whatever it is, a cold start is better than none
        BAKED.note = f"baked caches are not used: {type(error).__name__}: {error}"
    if BAKED.note:
        if BAKED.required:
            raise RequiredCacheError(BAKED.note)
        logger.warning("%s", BAKED.note)


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
    file = BAKED.folder / "profile.json"
    return None if _wrong(file, BAKED.profile) else file


def _use(folder: Path) -> None:
    from kserve_warmup.caches.fingerprint import PROFILE, read_fingerprint
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
    here = of_this_machine(samples)
    BAKED.folder, BAKED.profile, BAKED.compiled = folder, made.files.get(PROFILE), made.compiled
    BAKED.said = made.only_said(here)
    if refused := made.refusing(here):
        raise WarmupError(f"{folder} does not fit: {'; '.join(refused)}")
    _point(folder, made, here, copied=writable)


def _point(folder: Path, made: Fingerprint, here: Fingerprint, *, copied: bool) -> None:
    """Make the private folder, and set the variables of all frameworks to it."""
    from kserve_warmup.caches.shadow import shadow

    parts = made.refusing_parts(here)
    had = {path.split("/")[1] for path in made.files if path.startswith("caches/")}
    problems = [f"{part}: {why}" for part, why in parts.items() if part in had]
    wanted = {p: seal for p, seal in made.files.items() if p.startswith("caches/") and p.split("/")[1] not in parts}

    def fill(_: Path, private: Path) -> None:
        wrong = [why for path, seal in wanted.items() if (why := _put(folder, private, path, seal, copied=copied))]
        if wrong:
            more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            problems.append(f"{wrong[0]}{more}, left out")

    BAKED.caches = shadow(folder, fill) / "caches"
    BAKED.caches.mkdir(exist_ok=True)
    os.environ.update(frameworks.variables(BAKED.caches))
    if problems:
        BAKED.note = f"baked caches are not used wholly: {'; '.join(problems)}"


def _put(folder: Path, private: Path, path: str, seal: Seal, *, copied: bool) -> str | None:
    """Link or copy one file that is as it was baked; return what is wrong with it otherwise."""
    source, target = folder / path, private / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copied:
        if why := _wrong(source, seal):
            return why
        if not path.endswith(".lock"):  # torch refuses a lock that is a link, and makes those that it lacks
            target.symlink_to(source)
        return None
    # what may be written meanwhile is copied first, and the copy is what is checked
    if source.is_symlink() or not source.is_file() or source.stat().st_size != seal.size:
        return f"{source} is not as it was baked"
    shutil.copyfile(source, target, follow_symlinks=False)
    if why := _wrong(target, seal):
        target.unlink()
        return why.replace(str(target), str(source))
    return None


def _wrong(file: Path, seal: Seal) -> str | None:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"{file}: {error.strerror}"
    with open(handle, "rb") as stream:  # noqa: PTH123  (a descriptor)
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size != seal.size:
            return f"{file} is not as it was baked"
        whole, left = hashlib.sha256(), seal.size
        while left > 0 and (part := stream.read(min(left, 1 << 20))):
            whole.update(part)
            left -= len(part)
    return None if whole.hexdigest() == seal.sha256 else f"{file} is not as it was baked"
