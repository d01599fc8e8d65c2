"""A model's generated files on disk: written so that a kill at any moment leaves a model that loads."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.files import TEMPORARY, Access
from kserve_warmup.triton.encode import OWN_FILE
from kserve_warmup.triton.model_config import parse

WARMUP = "warmup"
CONFIG = "config.pbtxt"
CONFIGS = "configs"
"""Where Triton looks for other configurations of a model (``--model-config-name``)."""

_CHUNK = 1 << 20
_FILES = (stat.S_IFREG, stat.S_IFLNK)
_READ, _READ_WRITE = 0o444, 0o666


def read_config(folder: Path) -> bytes | None:
    """Return the bytes of the ``config.pbtxt`` of a model that is to be written, or None when it has none.

    Raises:
        TritonConfigError: It, its folder or the ``warmup`` folder is a link: writing would change something elsewhere;
            or it cannot be read.
    """
    for path in (folder, folder / CONFIG, folder / WARMUP):
        if path.is_symlink():
            raise TritonConfigError(
                f"{path} is a link: name the repository that it leads to, or put a copy in its place"
            )
    return config_text(folder)


def config_text(folder: Path) -> bytes | None:
    """Return the bytes of a model's ``config.pbtxt``, wherever it is, or None when it has none.

    Raises:
        TritonConfigError: It cannot be read, or is no file: a pipe would be waited for, and a device never end.
    """
    try:
        return read_regular(folder / CONFIG)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TritonConfigError(f"cannot read {folder / CONFIG}: {error.strerror}") from None


def read_regular(path: Path) -> bytes:
    """Return what is in a file.

    Raises:
        OSError: it cannot be read, or is a pipe, a device or the like.
    """
    with _opened(path) as stream:
        return stream.read()


def _opened(path: Path) -> BinaryIO:
    if stat.S_ISREG(path.stat().st_mode):  # opening a device may do something already
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return open(handle, "rb")  # noqa: PTH123  (a descriptor)
        os.close(handle)
    raise OSError(errno.EINVAL, "it is no regular file", str(path))


def access_of(folder: Path) -> Access:
    """Return what a model's configuration has, or is to have in this folder where there is none."""
    try:
        return Access.of((folder / CONFIG).stat(), strict=True)
    except FileNotFoundError:
        found = Access.of(folder.stat())
        return replace(found, mode=found.mode & _READ_WRITE)


def data_access(access: Access) -> Access:
    """Return what a data file gets beside such a configuration: who reads that, a server, reads this too."""
    return replace(access, mode=access.mode & _READ_WRITE)


def make_warmup(folder: Path, access: Access) -> None:
    """Make the ``warmup`` folder if need be, open to all who may read the configuration."""
    try:
        (folder / WARMUP).mkdir()
    except FileExistsError:
        return
    handle = os.open(folder / WARMUP, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        mode = access.mode & _READ_WRITE
        inherited = os.fstat(handle).st_mode & stat.S_ISGID
        replace(access, mode=mode | (mode & _READ) >> 2 | stat.S_IRWXU | inherited).give(handle)
    finally:
        os.close(handle)


def own_files(folder: Path) -> set[str]:
    """Return the files below a model's folder that the generator owns, what a killed run left included.

    They are paths from ``folder``: ``warmup/kserve-warmup-….bin``.
    """
    data = {f"{WARMUP}/{n}" for n in _names(folder / WARMUP) if OWN_FILE.fullmatch(n) or TEMPORARY.fullmatch(n)}
    return data | {name for name in _names(folder) if TEMPORARY.fullmatch(name)}


def _names(folder: Path) -> set[str]:
    """Return the names of the files, and links, in a folder."""
    try:
        return {path.name for path in folder.iterdir() if stat.S_IFMT(path.lstat().st_mode) in _FILES}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def stale_files(folder: Path, config: bytes) -> frozenset[str]:
    """Return the own files that nothing names any more, as paths from ``folder``.

    People copy generated blocks out of their markers, and into other configurations of the model (``configs/``).

    Args:
        folder: The model's folder.
        config: Its configuration, as it is or is to be.
    """
    left = own_files(folder) - _named(config)
    if left:  # parsing takes milliseconds, and repositories have many models
        texts = [config]
        for path in (folder / CONFIGS).glob("*.pbtxt"):
            with contextlib.suppress(OSError):
                texts.append(read_regular(path))
        left -= {name for text in texts for name in _named(text) | _parsed(text)}
    return frozenset(left)


def _named(text: bytes) -> set[str]:
    return {f"{WARMUP}/{name}" for name in OWN_FILE.findall(text.decode("ascii", "replace"))}


def _parsed(text: bytes) -> set[str]:
    """Return what a configuration names in strings that are escaped or in pieces."""
    try:
        blocks = parse(text).model_warmup
    except TritonConfigError:
        return set()
    return _named("\n".join(i.input_data_file for block in blocks for i in block.inputs.values()).encode())


def is_whole(folder: Path, name: str) -> bool:
    """Return whether a data file is there with the content that its name tells."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with _opened(folder / WARMUP / name) as stream:
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
