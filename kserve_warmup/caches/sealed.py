"""A baked folder's files in a private folder, each linked or copied there only if it is as it was baked."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from kserve_warmup.caches.fingerprint import CACHES, Fingerprint, Seal
from kserve_warmup.caches.shadow import shadow


@dataclass(frozen=True, slots=True)
class Private:
    """A private folder of caches, how many ``files`` it got, and why some were left out, a line each."""

    caches: Path
    files: int
    problems: tuple[str, ...]


def private_copy(folder: Path, made: Fingerprint, here: Fingerprint, *, copied: bool) -> Private:
    """Put what fits ``here`` of a baked ``folder`` into a new private folder, which goes when this process ends.

    Args:
        folder: What was baked, and holds what :attr:`Fingerprint.files` of ``made`` names.
        made: Its fingerprint.
        here: That of the machine and the Python that are to use it.
        copied: Whether files are copied, as they may be written meanwhile; otherwise they are linked.

    Raises:
        NoShadowError: No private folder can be made.
    """
    parts = made.refusing_parts(here)
    had = {path.split("/")[1] for path in made.files if path.startswith(f"{CACHES}/")}
    problems = [f"{part}: {why}" for part, why in parts.items() if part in had]
    wanted = {
        path: seal
        for path, seal in made.files.items()
        if path.startswith(f"{CACHES}/") and path.split("/")[1] not in parts
    }
    wrong: list[str] = []

    def fill(_: Path, private: Path) -> None:
        wrong.extend(why for path, seal in wanted.items() if (why := _put(folder, private, path, seal, copied=copied)))

    caches = shadow(folder, fill) / CACHES
    caches.mkdir(exist_ok=True)
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        problems.append(f"{wrong[0]}{more}, left out")
    return Private(caches, len(wanted) - len(wrong), tuple(problems))


def _put(folder: Path, private: Path, path: str, seal: Seal, *, copied: bool) -> str | None:
    """Link or copy one file that is as it was baked; return what is wrong with it otherwise."""
    source, target = folder / path, private / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not copied:
        if why := not_as_baked(source, seal):
            return why
        if not path.endswith(".lock"):  # torch refuses a lock that is a link, and makes those that it lacks
            target.symlink_to(source)
        return None
    # what may be written meanwhile is copied first, and the copy is what is checked
    if source.is_symlink() or not source.is_file() or source.stat().st_size != seal.size:
        return f"{source} is not as it was baked"
    shutil.copyfile(source, target, follow_symlinks=False)
    if why := not_as_baked(target, seal):
        target.unlink()
        return why.replace(str(target), str(source))
    return None


def not_as_baked(file: Path, seal: Seal) -> str | None:
    """Return in a line why a file is not what was sealed, None if it is."""
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
