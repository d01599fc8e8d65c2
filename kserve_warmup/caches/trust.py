"""Whether a baked folder may be used: caches are executable code, so who can write them can run code in the server."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

HOW = "set KSERVE_WARMUP_CACHE_TRUST=writable if all who can write there may run code in this server"
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def distrusted(folder: Path, *, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return in a line why ``folder`` is not to be used, None if it is.

    Trusted is what this process cannot write and does not own, what lies on a read-only mount, and what lies in the
    container's image; not if a part of it, or a folder on the way to it, may be written by a group or by all, nor if a
    link in it leads out.

    Raises:
        OSError: it cannot be read.
    """
    real = Path(os.path.realpath(folder))
    in_image = _in_image(real, mounts)
    ways = dict.fromkeys([*Path(os.path.abspath(folder)).parents, *real.parents])  # noqa: PTH100  not resolved
    for path in (*_parts(real), *ways):
        why = _why_not(path, real, in_image=in_image)
        if why:
            return f"{path} {why}: {HOW}"
    return None


def _parts(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    yield folder
    for place, folders, files in os.walk(folder, onerror=refuse):
        for name in (*folders, *files):
            yield Path(place) / name


def _why_not(path: Path, folder: Path, *, in_image: bool) -> str | None:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        leads_to = Path(os.path.realpath(path))
        inside = leads_to == folder or folder in leads_to.parents
        return None if inside or path not in _below(path, folder) else "is a link that leads out of the folder"
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return "is neither a file nor a folder"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return None
    if status.st_mode & _OTHERS_MAY_WRITE:
        return "may be written by a group or by all"
    return None if in_image else _ours(path, status)


def _ours(path: Path, status: os.stat_result) -> str | None:
    user = os.geteuid()
    if user == 0:
        return "can be written by this process, which is root's, and is neither in the image nor mounted read-only"
    if status.st_uid == user:
        return "belongs to this process's own user"
    if os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        return "can be written by this process"
    return None


def _below(path: Path, folder: Path) -> tuple[Path, ...]:
    return (path,) if folder in path.parents else ()


def _in_image(folder: Path, mounts: Path) -> bool:
    """Return whether ``folder`` lies in the root overlay of a container, and on no volume."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return False
    found = ("", "")
    for line in lines:
        left, _, right = line.partition(" - ")
        point, kind = left.split()[4].replace("\\040", " "), (right.split() or [""])[0]
        if (folder == Path(point) or Path(point) in folder.parents) and len(point) >= len(found[0]):
            found = (point, kind)
    return found == ("/", "overlay")
