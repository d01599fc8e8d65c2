"""A model's generated files on disk: written so that a kill at any moment leaves a model that loads."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.files import TEMPORARY
from kserve_warmup.triton.encode import OWN_FILE

WARMUP = "warmup"
CONFIG = "config.pbtxt"

_CHUNK = 1 << 20


def read_config(folder: Path) -> bytes | None:
    """Return the bytes of a model's ``config.pbtxt``, or None when it has none.

    Raises:
        TritonConfigError: It, or the ``warmup`` folder, is a link: writing would change something elsewhere.
    """
    for path in (folder / CONFIG, folder / WARMUP):
        if path.is_symlink():
            raise TritonConfigError(
                f"{path} is a link: name the repository that it leads to, or put a copy in its place"
            )
    try:
        return (folder / CONFIG).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TritonConfigError(f"cannot read {folder / CONFIG}: {error.strerror}") from None


def own_files(folder: Path) -> set[str]:
    """Return the files below a model's folder that the generator owns, what a killed run left included.

    They are paths from ``folder``: ``warmup/kserve-warmup-….bin``.
    """
    data = {f"{WARMUP}/{n}" for n in _names(folder / WARMUP) if OWN_FILE.fullmatch(n) or TEMPORARY.fullmatch(n)}
    return data | {name for name in _names(folder) if TEMPORARY.fullmatch(name)}


def _names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def is_whole(folder: Path, name: str) -> bool:
    """Return whether a data file is there with the content that its name tells."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with (folder / WARMUP / name).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return False
    return name == f"kserve-warmup-{digest.hexdigest()}.bin"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def delete(folder: Path, paths: Iterable[str]) -> None:
    """Remove files by their paths from ``folder``, and the ``warmup`` folder when nothing is left in it."""
    for path in sorted(paths):
        (folder / path).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # it holds a user's files, or is not there
        (folder / WARMUP).rmdir()
