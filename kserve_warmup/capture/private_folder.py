"""A folder that is provably this process's own, in a place that others may share, such as a mounted volume.

The folder is held by its descriptor: whoever may rename it cannot lead anything elsewhere. Of what is in it only
regular files with our own names count, that are nobody else's and have no second name.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path

from kserve_warmup.errors import SampleError

OWN_NAME = re.compile(r"\.?kserve-warmup-[0-9]{8}T[0-9]{6}\.[0-9]{6}-[0-9a-f]{8}\.jsonl")
"""A recorded file: when it was begun, in UTC, and by whom; hidden until its first record is whole."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_PLACE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def open_private(folder: Path, *, create: bool = False) -> int:
    """Return a descriptor of ``folder``, which is this user's and nobody else's; one that was open to others is shut.

    Args:
        folder: may itself be no link; the folders above it may be shared.
        create: make it, and the folders above it, if need be.

    Raises:
        SampleError: it is a link, or another user's, or cannot be shut.
        OSError: it is not there, or cannot be opened.
    """
    place = folder.parent
    _refuse_foreign_link(place)
    if create:
        place.mkdir(parents=True, exist_ok=True)
    around = os.open(place, _PLACE)
    try:
        if create:
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder.name, stat.S_IRWXU, dir_fd=around)
        handle = _open_inside(around, folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None
    finally:
        os.close(around)
    try:
        _shut(handle, folder)
    except BaseException:
        os.close(handle)
        raise
    return handle


def own_files(handle: int) -> dict[str, int]:
    """Return the names and sizes of the own files in a folder, the oldest first, hidden ones included."""
    found = {}
    for name in os.listdir(handle):
        if OWN_NAME.fullmatch(name):
            with contextlib.suppress(FileNotFoundError):  # another process has made room with it
                status = os.stat(name, dir_fd=handle, follow_symlinks=False)
                if _is_own(status):
                    found[name] = status.st_size
    return dict(sorted(found.items(), key=lambda item: item[0].lstrip(".")))


def _refuse_foreign_link(place: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        status = os.lstat(place)
        if stat.S_ISLNK(status.st_mode) and status.st_uid not in (os.geteuid(), 0):
            raise SampleError(f"{place} is a link that user {status.st_uid} has made: name the folder itself")


def _open_inside(around: int, folder: Path) -> int:
    try:
        return os.open(folder.name, _FOLDER | os.O_NOFOLLOW, dir_fd=around)
    except FileNotFoundError:
        raise
    except OSError:
        if stat.S_ISLNK(os.stat(folder.name, dir_fd=around, follow_symlinks=False).st_mode):
            raise SampleError(f"{folder} is a link, which is not followed: remove it") from None
        raise


def _shut(handle: int, folder: Path) -> None:
    """Take away what others may do in the folder. A volume's ``fsGroup`` opens it to its group at every mount."""
    status = os.fstat(handle)
    if status.st_uid != os.geteuid():
        raise SampleError(
            f"{folder} belongs to user {status.st_uid} and not to {os.geteuid()}, as whom this runs: "
            "remove it or name another folder"
        )
    if status.st_mode & _OTHERS:
        with contextlib.suppress(OSError):
            os.fchmod(handle, stat.S_IRWXU)
        if os.fstat(handle).st_mode & _OTHERS:
            raise SampleError(f"{folder} is open to others, and its file system does not let it be shut: name another")


def _is_own(status: os.stat_result) -> bool:
    """Return whether nobody else can have written a file; ``fsGroup`` lets the group of the pod itself write."""
    shared = status.st_mode & stat.S_IWOTH or (
        status.st_mode & stat.S_IWGRP and status.st_gid not in (os.getegid(), *os.getgroups())
    )
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1 and not shared
