"""Files appear whole or not at all, and what is no file is written to, never replaced."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import select
import stat
from dataclasses import dataclass
from pathlib import Path

TEMPORARY = re.compile(r"\.kserve-warmup-[0-9a-f]{16}\.tmp")
"""The name of a file that a kill left behind."""

PATIENCE = 5.0
"""Seconds that a reader of a pipe may stand still: a server that writes its report must not wait for ever."""

_LINKS = 40


def shipped(folder: str) -> Path:
    """Return a folder that is beside the package in a checkout and inside it once it is installed."""
    package = Path(__file__).resolve().parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


@dataclass(frozen=True, slots=True)
class Access:
    """Whose a file is and who may read it; with ``strict``, a file that cannot be made so is not written."""

    uid: int
    gid: int
    mode: int
    strict: bool = False

    @classmethod
    def of(cls, status: os.stat_result, *, strict: bool = False) -> Access:
        """Return what a file has."""
        return cls(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), strict)

    def give(self, handle: int) -> None:
        """Give it to an open file or folder.

        Raises:
            OSError: ``strict``, and this user may not.
        """
        now = os.fstat(handle)
        if now.st_uid != self.uid:
            self._pass_on(handle, self.uid, -1)
        if now.st_gid != self.gid:
            self._pass_on(handle, -1, self.gid)
        if stat.S_IMODE(os.fstat(handle).st_mode) != self.mode:
            os.fchmod(handle, self.mode)

    def _pass_on(self, handle: int, uid: int, gid: int) -> None:
        try:
            os.fchown(handle, uid, gid)
        except OSError:
            if self.strict:
                whose = f"user {self.uid} and group {self.gid}"
                msg = f"it belongs to {whose}, which user {os.geteuid()} cannot keep: run as that user or as root"
                raise OSError(errno.EPERM, msg) from None


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


def write_own(file: Path, data: bytes, access: Access | None = None) -> None:
    """Put ``data`` at ``file``, whose name is ours, in one step; a link there goes, and what it names stays.

    Args:
        file: its folder is there.
        data: all of it.
        access: what it gets; None: that of the file which it replaces, as far as allowed.

    Raises:
        OSError: it cannot be written, or not be made what ``access`` says; nothing is left behind.
    """
    access = access or _access(file)
    temporary = file.with_name(f".kserve-warmup-{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if access else 0o666)
    try:
        with open(handle, "wb") as stream:  # noqa: PTH123  (a descriptor)
            stream.write(data)
            if access:
                access.give(handle)
            stream.flush()
            os.fsync(handle)
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _access(file: Path) -> Access | None:
    with contextlib.suppress(FileNotFoundError):
        status = file.lstat()
        if stat.S_ISREG(status.st_mode):
            return Access.of(status)
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
