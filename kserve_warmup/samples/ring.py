"""A folder of JSON lines that never grows past its limit: the newest records are kept, whole files go."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

FILES = 16
"""Into how many files the limit is divided: so much of it goes when the oldest one does."""

SUFFIX = ".jsonl"

_VECTOR = 512
"""Lines in one call of the kernel, which takes 1024; joining them first would copy every body once more."""


class Ring:
    """One process's end of a folder that several processes, or pods, may share.

    A file is named after the time at which it was begun, so that names are in order of age, and hidden until its first
    record is whole. A full disk's half of a record is cut off again. A process that is killed may leave one behind
    whole ones, which those who read pass over.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take the folder and its limit; each further process that writes at the same time may exceed it by one file.

        Args:
            folder: made when the first record is written, readable by its owner only.
            max_bytes: what all files in it may take together; a record may be as large as that.
        """
        self.folder = folder
        self.file_bytes = max(1, max_bytes // FILES)
        self._max_bytes = max_bytes
        self._name = secrets.token_hex(4)
        self._file = folder
        self._fd = -1
        self._size = 0

    def append(self, lines: Iterable[bytes]) -> None:
        """Write lines, each with its end, in files of their size.

        Raises:
            OSError: the folder cannot be written; what was written before stays.
        """
        together: list[bytes] = []
        pending = 0
        for line in lines:
            if together and self._size + pending + len(line) > self.file_bytes:
                self._write(together, pending)
                together, pending = [], 0
            if self._size + len(line) > self.file_bytes:
                self.close()
            together.append(line)
            pending += len(line)
        if together:
            self._write(together, pending)

    def close(self) -> None:
        """End the file that is being written; the next record begins another."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._size = -1, 0

    def _write(self, lines: list[bytes], size: int) -> None:
        if self._fd >= 0 and not os.fstat(self._fd).st_nlink:  # another process has made room with it
            self.close()
        if self._fd < 0:
            self._begin(size)
        try:
            if sum(os.writev(self._fd, lines[i : i + _VECTOR]) for i in range(0, len(lines), _VECTOR)) != size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301  (cut off like the others)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        if not self._size:
            _hidden(self._file).rename(self._file)
        self._size += size

    def _begin(self, size: int) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room(max(size, self.file_bytes))
        started = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
        self._file = self.folder / f"{started}-{self._name}{SUFFIX}"
        self._fd = os.open(_hidden(self._file), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def _make_room(self, needed: int) -> None:
        """Remove the oldest files until ``needed`` bytes more fit."""
        files = sorted(self.folder.glob(f"*{SUFFIX}"), key=lambda file: file.name.lstrip("."))
        sizes = {file: size for file in files if (size := _size(file)) is not None}
        total = sum(sizes.values())
        for file, size in sizes.items():
            if total + needed <= self._max_bytes:
                return
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
            total -= size


def _hidden(file: Path) -> Path:
    return file.with_name(f".{file.name}")


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return None
