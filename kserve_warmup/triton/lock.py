"""One generator at a time in a repository: two would delete the data files that each other's configurations name."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kserve_warmup.errors import TritonConfigError

WAIT = 60.0
"""Seconds to wait for another generator."""

LOCK_FILE = ".kserve-warmup.lock"
"""Where a folder itself cannot be locked, as on NFS. It stays: deleting it would let two in. Triton passes it over."""

_LOOK = 0.05


@contextmanager
def locked(repository: Path, tell: Callable[[str], object], wait: float = WAIT) -> Iterator[None]:
    """Hold a repository for as long as the block lasts; the kernel lets go of it when the process ends.

    Args:
        repository: The model repository.
        tell: Hears in a line that another generator is waited for.
        wait: Seconds, at most.

    Raises:
        TritonConfigError: It is no folder or cannot be locked, or another generator still holds it.
    """
    if not repository.is_dir():
        raise TritonConfigError(f"{repository} is not a folder: name a Triton model repository")
    with ExitStack() as stack:
        try:
            handle = _opened(repository)
            stack.callback(os.close, handle)
            _wait(handle, repository, tell, wait)
        except OSError as error:
            raise TritonConfigError(f"cannot lock {repository}: {error.strerror}") from None
        yield


def _opened(repository: Path) -> int:
    """Return the descriptor of what can be locked: the folder, which needs no write access, or a file in it."""
    handle = os.open(repository, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _taken(handle)
    except OSError:
        os.close(handle)
        return os.open(repository / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    return handle


def _wait(handle: int, repository: Path, tell: Callable[[str], object], wait: float) -> None:
    end = time.monotonic() + wait
    told = False
    while not _taken(handle):
        if time.monotonic() > end:
            msg = f"another generator has been writing to {repository} for {wait:g} s: run again when it is done"
            raise TritonConfigError(msg)
        if not told:
            tell(f"another generator writes to {repository}: waiting for it, {wait:g} s at most")
            told = True
        time.sleep(_LOOK)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
