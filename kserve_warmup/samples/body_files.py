"""The files of a sample set that is open: read when they are needed, and only as what was recorded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.manifest import MOST_BODY_BYTES, Entry

_HELD = 64 << 10
"""Bytes up to which a body that was read stays in memory: reading it at each use would take longer than it saves."""


class BodyFile:
    """A body file of a set that is open; samples that share one share what is held of it too."""

    def __init__(self, folder: Path, entry: Entry) -> None:
        self.sharing: list[Entry] = []
        self._folder, self._entry, self._checked = folder, entry, False
        self._held: bytes | None = None

    def check(self) -> bytes:
        """Return the body, looked at for each sample that has it.

        Raises:
            SampleError: it is missing, lies outside the folder, was changed, or must not be sent.
        """
        body = _read_body(self._folder, self._entry)
        for entry in self.sharing:
            entry.check(body)
        self._checked = True
        return body

    def read(self) -> bytes:
        """Return the body, as it was recorded.

        Raises:
            SampleError: as :meth:`check`.
        """
        if self._held is not None:
            return self._held
        try:
            body = _read_body(self._folder, self._entry) if self._checked else self.check()
        except SampleError as error:
            raise SampleError(f"{self._folder}: {error}") from None
        if len(body) <= _HELD:
            self._held = body
        return body


def _read_body(folder: Path, entry: Entry) -> bytes:
    name = entry.body
    if not os.path.exists(folder / name):  # noqa: PTH110  (no name is too long for it)
        name = PurePosixPath(name).name  # a ConfigMap has no folders: its files lie beside the manifest
    body = read_inside(folder, name, entry.size)
    if hashlib.sha256(body).hexdigest() != entry.sha256:
        msg = f"{entry.body} is not what was recorded (sha256 differs): was it edited, or its line ends converted?"
        raise SampleError(msg)
    return body


def read_inside(folder: Path, name: str, size: int | None = None, most: int = MOST_BODY_BYTES) -> bytes:
    """Return the content of a file that lies inside ``folder``, symbolic links followed.

    Args:
        folder: where it has to lie.
        name: its path in there.
        size: its bytes; None: up to ``most``. Nothing is read of a file that has others.
        most: the bytes that it may have at most.
    """
    try:
        root = folder.resolve()
        file = (root / name).resolve()
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or root not in file.parents:
            raise SampleError(f"{name!r} leads out of the sample set's folder")
        if not file.is_file():
            raise SampleError(
                f"{folder / name} is missing: is {folder} a sample set ('kserve-warmup sample' makes one)?"
            )
        found = file.stat().st_size
        if size is not None and found != size:
            raise SampleError(f"{name} has {found} bytes instead of {size}: copy the set again")
        if found > most:
            raise SampleError(f"{folder / name} has {found:,} bytes, more than {most:,}: it is no set of samples")
        with file.open("rb") as stream:  # it may grow meanwhile, and some files claim to be empty
            content = stream.read(found + 1)
    except (OSError, ValueError, RuntimeError) as error:  # no permission, too long a name, a NUL, a loop of links
        raise SampleError(f"cannot read {name!r} in {folder}: {error}") from None
    if len(content) != found:
        raise SampleError(f"{name} was changed while it was read: open the set again")
    return content
