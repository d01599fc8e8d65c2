"""Files appear whole or not at all, and what is no file is written to, never replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import select
import stat
from pathlib import Path

TEMPORARY = re.compile(r"\.kserve-warmup-[0-9a-f]{16}\.tmp")
"""The name of a file that a kill left behind."""

PATIENCE = 5.0
"""Seconds that a reader of a pipe may stand still: a server that writes its report must not wait for ever."""

_LINKS = 40


def write_whole(path: Path, data: bytes) -> None:
    """Put ``data`` where a person's path leads, a file in one step: readers see the old one or the new one.

    An old file's permissions stay, and its owner and group where that is allowed. Links are followed to what they name.
    Pipes, terminals and other character devices are written to; ``/dev/stdout`` and the like are this process's own.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    target = _followed(path)
    if isinstance(target, int):
        _write_all(target, data, path)
        return
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    if stat.S_ISREG(mode):
        write_own(target, data)
    elif stat.S_ISCHR(mode) or stat.S_ISFIFO(mode):
        _write_through(target, data)
    else:
        what = "folder" if stat.S_ISDIR(mode) else "socket" if stat.S_ISSOCK(mode) else "disk"
        raise OSError(errno.EINVAL, f"it is a {what}", str(path))


def write_own(file: Path, data: bytes, like: os.stat_result | None = None) -> None:
    """Put ``data`` at ``file``, whose name is ours, in one step; a link there goes, and what it names stays.

    Args:
        file: its folder is there.
        data: all of it.
        like: whose mode, owner and group it gets; None: those of the file that it replaces, as far as allowed.

    Raises:
        OSError: it cannot be written, or be given to the owner and group of ``like``; nothing is left behind.
    """
    old = like or _regular(file)
    temporary = file.with_name(f".kserve-warmup-{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if old else 0o666)
    try:
        with open(handle, "wb") as stream:  # noqa: PTH123  (a descriptor)
            stream.write(data)
            if old:
                take_after(handle, old, strict=like is not None)
            stream.flush()
            os.fsync(handle)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def take_after(handle: int, old: os.stat_result, *, strict: bool) -> None:
    """Give an open file or folder the owner, group and mode of another.

    Raises:
        OSError: ``strict``, and this user may not give it away.
    """
    now = os.fstat(handle)
    for mine, wanted in (((now.st_uid, -1), (old.st_uid, -1)), ((-1, now.st_gid), (-1, old.st_gid))):
        if mine == wanted:
            continue
        try:
            os.fchown(handle, *wanted)
        except OSError:
            if strict:
                whose = f"user {old.st_uid} and group {old.st_gid}"
                msg = f"it belongs to {whose}, which user {os.geteuid()} cannot keep: run as that user or as root"
                raise OSError(errno.EPERM, msg) from None
    if stat.S_IMODE(os.fstat(handle).st_mode) != stat.S_IMODE(old.st_mode):
        os.fchmod(handle, stat.S_IMODE(old.st_mode))


def _regular(file: Path) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):
        status = file.lstat()
        if stat.S_ISREG(status.st_mode):
            return status
    return None


def _followed(path: Path) -> Path | int:
    """Return where links lead in the end, or the number of this process's own descriptor that they lead to.

    Raises:
        OSError: they lead in a circle, or somebody else has put one where everybody may.
    """
    descriptors = os.path.realpath("/proc/self/fd")
    for _ in range(_LINKS):
        folder = Path(os.path.realpath(path.parent))
        if str(folder) == descriptors and path.name.isdigit():
            return int(path.name)
        here = folder / path.name
        try:
            status = here.lstat()
        except FileNotFoundError:
            return here
        if not stat.S_ISLNK(status.st_mode):
            return here
        around = folder.stat()
        if around.st_mode & stat.S_ISVTX and status.st_uid not in (os.geteuid(), around.st_uid):
            # what Linux calls protected_symlinks: in /tmp anybody can lay a link in one's way
            raise OSError(errno.EACCES, f"it is a link that user {status.st_uid} has made", str(here))
        path = folder / here.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _write_through(path: Path, data: bytes) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(error.errno, "nobody reads from it", str(path)) from None
        raise
    try:
        _write_all(handle, data, path)
    finally:
        os.close(handle)


def _write_all(handle: int, data: bytes, path: Path) -> None:
    """Write to a pipe or a device, as long as its reader goes on reading."""
    rest = memoryview(data)
    ready = select.poll()
    ready.register(handle, select.POLLOUT)
    while rest:
        if not ready.poll(PATIENCE * 1000):
            raise OSError(errno.ETIMEDOUT, "its reader stands still", str(path))
        # a pipe that is ready has room for so much: a blocking one does not block
        rest = rest[os.write(handle, rest[: select.PIPE_BUF]) :]
