"""A private writable folder that mirrors the baked one: frameworks read through its links, and write beside them.

numba and JAX refuse, or warn of, a cache folder that they cannot write, and Inductor keeps lock files in its own.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


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
        made = Path(tempfile.mkdtemp(prefix="kserve-warmup-caches-"))
        (fill or mirror)(baked, made)
    except OSError as error:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
        reason = error.strerror or str(error)
        message = f"{baked} cannot be used without a private writable folder: {reason}; set TMPDIR to one"
        raise NoShadowError(message) from error
    atexit.register(remove, made, os.getpid())
    return made


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
