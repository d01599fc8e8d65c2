"""Files wherever they are, local or in an object store, and whatever they are compressed with."""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from kserve_warmup.errors import MissingPackageError, SampleError
from kserve_warmup.extras import optional

UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a missing, truncated or corrupt file raises."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_USER = re.compile(r"://[^/@]*@")
_GZIP, _BZIP2, _XZ, _ZSTD = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
_MAGIC = 6
_BUFFER = 1 << 20
_ZSTD_INPUT = 1 << 10, 1 << 16
"""Bytes that are decompressed at a time, least and most: a zstd block may grow thirty thousandfold."""

_ZSTD_GROWTH = 64
"""A frame that grows more than this is read in the smallest steps."""

MOST_WHOLE = 1 << 30
"""1 GiB: of a file, decompressed, whose format has to be read whole."""


def find(item: str) -> list[str]:
    """Return the files that a path, a folder, a glob or a URL names; hidden ones inside a folder are left out.

    Raises:
        SampleError: it names nothing, or the object store cannot be reached.
        MissingPackageError: the package for the object store is not installed.
    """
    found = _find_remote(item) if _URL.match(item) else _find_local(item)
    if not found:
        raise SampleError(f"{item}: there is no such file, or nothing in it; give files, folders or globs")
    return found


def public(item: str) -> str:
    """Return what may be written of a source: a URL without the user, the password and the signature it may hold."""
    if not _URL.match(item):
        return item
    bare = _USER.sub("://", item)
    return bare.partition("?")[0] if bare.startswith("http") else bare  # elsewhere ? is a glob's


def size(file: str) -> int:
    """Return the bytes of a file as it is stored."""
    if not _URL.match(file):
        return os.path.getsize(file)  # noqa: PTH202  (os.stat of a str, once a file)
    with _translated():
        system, path = _remote(file)
        return int(system.size(path))


def compressed(file: str) -> bool:
    """Return whether a file is compressed, and so cannot be entered in the middle."""
    with _raw(file) as raw:
        return _compression(raw) is not None


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """Open a file for reading; a compressed one (gzip, bzip2, xz, zstd) is decompressed, whatever its name."""
    with _raw(file) as raw:
        kind = _compression(raw)
        if kind is None:
            yield raw
        elif kind == _ZSTD:
            with io.BufferedReader(_Zstd(raw), _BUFFER) as plain:
                yield cast("BinaryIO", plain)
        else:
            opener: Any = {_GZIP: gzip.open, _BZIP2: bz2.open, _XZ: lzma.open}[kind]
            with opener(raw, "rb") as plain:
                yield plain


def whole(stream: BinaryIO, most: int = MOST_WHOLE) -> bytes:
    """Return all that is left of a stream.

    Raises:
        SampleError: that is more than ``most`` bytes; no more than these were taken.
    """
    content = exactly(stream, most + 1)
    if len(content) > most:
        raise SampleError(f"it is longer than {most:,} bytes: a file of this format is read whole, so split it")
    return content


def exactly(stream: BinaryIO, size: int) -> bytes:
    """Return ``size`` bytes, fewer at the end of the file; memory is taken for what is there, not for what is asked."""
    if size <= _BUFFER:
        return stream.read(size)
    parts = []
    while size > 0 and (part := stream.read(min(size, _BUFFER))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


@contextmanager
def _raw(file: str) -> Iterator[BinaryIO]:
    if not _URL.match(file):
        with Path(file).open("rb", buffering=_BUFFER) as raw:
            yield raw
        return
    with _translated():
        system, path = _remote(file)
        stream = system.open(path, "rb")
    with io.BufferedReader(_Remote(stream), _BUFFER) as buffered:
        yield cast("BinaryIO", buffered)


def _compression(raw: BinaryIO) -> bytes | None:
    head = raw.read(_MAGIC)
    raw.seek(0)
    return next((magic for magic in (_GZIP, _BZIP2, _XZ, _ZSTD) if head.startswith(magic)), None)


def _find_local(item: str) -> list[str]:
    path = Path(item)
    named = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(item, recursive=True))]  # noqa: PTH207
    return [str(file) for one in named for file in (_below(one) if one.is_dir() else [one])]


def _below(folder: Path) -> list[Path]:
    below = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return [p for p in below if not _hidden(p.relative_to(folder).parts)]


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") for part in parts)


def _find_remote(url: str) -> list[str]:
    try:
        with _translated():
            system, path = _remote(url)
            named = sorted(system.glob(path)) if glob.has_magic(path) else [path]
            files: list[str] = []
            for one in named:
                if system.isdir(one):
                    below = sorted(system.find(one))
                    files += [p for p in below if not _hidden(tuple(p[len(one) :].strip("/").split("/")))]
                elif system.exists(one):
                    files.append(one)
            return [system.unstrip_protocol(file) for file in files]
    except OSError as error:
        raise SampleError(f"{url}: cannot be listed: {' '.join(str(error).split())}") from None


def _remote(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Raises:
        MissingPackageError: fsspec, or its package for this kind of URL, is not installed.
        SampleError: there is no such kind of URL.
    """
    fsspec = optional("fsspec", "object stores need")
    try:
        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingPackageError(f"{url}: {' '.join(str(error).split())}: pip install it") from None
    except ValueError as error:
        raise SampleError(f"{url}: {' '.join(str(error).split())}") from None
    return system, path


@contextmanager
def _translated() -> Iterator[None]:
    """Raise an object store's own errors, each client's of another class, as OSError."""
    try:
        yield
    except (*UNREADABLE, SampleError, MissingPackageError):
        raise
    except Exception as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


class _Remote(io.RawIOBase):
    """A file of an object store whose errors are OSErrors."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        with _translated():
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Zstd(io.RawIOBase):
    """The frames of a zstd file one after the other; the package's own reader takes a truncated one for whole."""

    def __init__(self, raw: BinaryIO) -> None:
        self._zstandard = optional("zstandard", "files that are compressed with zstd need")
        self._raw = raw
        self._frame: Any = None
        self._compressed = self._plain = b""
        self._taken = 0
        self._step, self._largest_step = _ZSTD_INPUT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while self._taken >= len(self._plain):
            self._compressed = self._compressed or self._raw.read(self._step)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("the file ends within a zstd frame")
                return 0
            self._decompress()
        taken = memoryview(self._plain)[self._taken : self._taken + len(buffer)]
        self._taken += len(taken)
        buffer[: len(taken)] = taken
        return len(taken)

    def _decompress(self) -> None:
        if self._frame is None:
            self._frame = self._zstandard.ZstdDecompressor().decompressobj()
        try:
            self._plain, self._taken = self._frame.decompress(self._compressed), 0
        except self._zstandard.ZstdError as error:
            raise OSError(f"no zstd: {error}") from error
        grown = len(self._plain) > _ZSTD_GROWTH * len(self._compressed)
        self._step = _ZSTD_INPUT[0] if grown else min(2 * self._step, self._largest_step)
        self._compressed = b""
        if self._frame.eof:
            self._compressed, self._frame = self._frame.unused_data, None
