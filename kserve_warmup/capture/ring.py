"""A folder of JSON lines that never grows past its limit: the newest records are kept, whole files go."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from kserve_warmup.capture.private_folder import open_private, own_files

FILES = 16
"""Into how many files the limit is divided: so much of it goes when the oldest one does."""

_VECTOR = 512
"""Lines in one call of the kernel, which takes 1024; joining them first would copy every body once more."""


class Ring:
    """One process's end of a folder that several processes, or pods, of one user may share.

    Only own files, as :mod:`kserve_warmup.capture.private_folder` knows them, are counted and removed. A file is
    named after the time at which it was begun, so that names are in order of age, and hidden until its first record
    is whole. A full disk's half of a record is cut off again. A process that is killed may leave one behind whole
    ones, which those who read pass over.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take the folder and its limit; each further process that writes at the same time may exceed it by one file.

        Args:
            folder: made when the first record is written, open to its owner only.
            max_bytes: what all files in it may take together; a record may be as large as that.
        """
        self.folder = folder
        self.file_bytes = max(1, max_bytes // FILES)
        self._max_bytes = max_bytes
        self._name = secrets.token_hex(4)
        self._file = ""
        self._fd = self._handle = -1
        self._size = 0

    def append(self, lines: Iterable[bytes]) -> None:
        """Write lines, each with its end, in files of their size.

        Raises:
            OSError: the folder cannot be written; what was written before stays.
            SampleError: it is not this user's own.
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
        for handle in (self._fd, self._handle):
            if handle >= 0:
                os.close(handle)
        self._fd, self._handle, self._size = -1, -1, 0

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
            os.rename(_hidden(self._file), self._file, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        self._size += size

    def _begin(self, size: int) -> None:
        """Begin a file in the folder as it is now: it may have been removed, or put in another's place."""
        self.close()
        self._handle = open_private(self.folder, create=True)
        self._make_room(max(size, self.file_bytes))
        started = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%f")
        self._file = f"kserve-warmup-{started}-{self._name}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(_hidden(self._file), flags, 0o600, dir_fd=self._handle)

    def _make_room(self, needed: int) -> None:
        """Remove the oldest files until ``needed`` bytes more fit."""
        sizes = own_files(self._handle)
        total = sum(sizes.values())
        for name, size in sizes.items():
            if total + needed <= self._max_bytes:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._handle)
            total -= size


def _hidden(name: str) -> str:
    return f".{name}"
