"""A private writable folder that mirrors the baked one: frameworks read through its links, and write beside them.

numba and JAX refuse, or warn of, a cache folder that they cannot write, and Inductor keeps lock files in its own.

A process that is killed leaves its folder behind. So each holds a lock on its own, which the kernel gives back however
the process ends, and which a program that it becomes by ``exec`` can keep; the next start removes what nobody holds. A
process id would not do: containers that share a folder each have a process 1.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PREFIX = "kserve-warmup-caches-"
_HELD: dict[Path, int] = {}


class NoShadowError(OSError):
    """No private folder could be made beside which a baked cache can be used; the message says where and why."""


def shadow(baked: Path, fill: Callable[[Path, Path], None] | None = None) -> Path:
    """Return a new folder (0700) with ``baked``'s folders, and a link for each file but locks; it goes at exit.

    ``fill(baked, made)`` puts there what is to be there, if not all.
    Only the process that made it removes it: those that it forks or starts share it through the environment.

    Raises:
        NoShadowError: No folder can be written below ``tempfile.gettempdir()``, or ``baked`` cannot be read.
    """
    baked = baked.resolve()
    made: Path | None = None
    try:
        clear()
        made = _made()
        (fill or mirror)(baked, made)
    except OSError as error:
        if made is not None:
            remove(made, os.getpid())
        reason = error.strerror or str(error)
        message = f"{baked} cannot be used without a private writable folder: {reason}; set TMPDIR to one"
        raise NoShadowError(message) from error
    atexit.register(remove, made, os.getpid())
    return made


def _made() -> Path:
    while True:
        made = Path(tempfile.mkdtemp(prefix=PREFIX))
        with suppress(FileNotFoundError, BlockingIOError):  # another start took it for one that is left behind
            _HELD[made] = _hold(made)
            return made


def _hold(folder: Path) -> int:
    """Lock a folder until the descriptor that is returned is closed, in this process and in all that have it.

    Raises:
        BlockingIOError: somebody else holds it.
        FileNotFoundError: it is not there any more.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise  # and else it is a file system without locks, where nobody clears up either
        if not os.path.samestat(folder.lstat(), os.fstat(handle)):
            raise FileNotFoundError(folder)
    except OSError:
        os.close(handle)
        raise
    return handle


def clear() -> None:
    """Remove the folders of this user that processes left behind which did not get to their exit handlers."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.lstat().st_uid != os.geteuid():
                continue
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def outlive_exec() -> None:
    """Let the program that this process is about to become hold its folders: they are its now."""
    for handle in _HELD.values():
        os.set_inheritable(handle, True)


def mirror(baked: Path, made: Path) -> None:
    """Make real folders in ``made``, and links to the files in ``baked``; raises OSError if it cannot be read."""

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(baked, onerror=refuse):
        here = made / Path(place).relative_to(baked)
        for name in folders:
            (here / name).mkdir(mode=0o700)
        for name in files:
            if not name.endswith(".lock"):  # torch refuses to open a lock that is a link, and makes those it lacks
                (here / name).symlink_to(Path(place) / name)


def remove(made: Path, maker: int) -> None:
    """Remove the folder if this is the process that made it; a fork of it runs the same exit handlers."""
    if os.getpid() == maker:
        shutil.rmtree(made, ignore_errors=True)
        if (handle := _HELD.pop(made, None)) is not None:
            os.close(handle)
