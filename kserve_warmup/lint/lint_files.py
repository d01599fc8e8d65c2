"""Which files the lint looks at, and what is in them."""

from __future__ import annotations

import enum
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from kserve_warmup.lint.findings import UnreadableError
from kserve_warmup.triton.warmup_files import CONFIG, CONFIGS

STDIN = "-"
LARGEST = 64 << 20
"""Bytes of a file that is looked at; no manifest is so large."""

_YAML = (".yaml", ".yml", ".json")
_PASSED_OVER = {".git", "node_modules", "__pycache__", ".venv"}


class Kind(enum.Enum):
    """What a file is, by its name."""

    MANIFEST = enum.auto()
    TRITON = enum.auto()
    IMAGE = enum.auto()


def kind_of(name: str) -> Kind | None:
    """Return what a file with this name is; None where no rule looks at such."""
    path = PurePath(name)
    low = path.name.lower()
    if path.name == CONFIG or (path.parent.name == CONFIGS and path.suffix == ".pbtxt"):
        return Kind.TRITON
    if low.startswith(("dockerfile", "containerfile")) or low.endswith((".dockerfile", ".containerfile")):
        return Kind.IMAGE
    return Kind.MANIFEST if low.endswith(_YAML) else None


def named_files(paths: Sequence[str]) -> Iterator[str]:
    """Yield the files that are named, and in folders those with a name that a rule looks at; each once.

    Raises:
        UnreadableError: a path is not there.
    """
    for path in paths:
        if path != STDIN and not Path(path).exists():
            raise UnreadableError(f"there is no {path}: name files, folders, or - for stdin")
    every = (name for path in paths for name in ([path] if path == STDIN or not Path(path).is_dir() else _below(path)))
    yield from dict.fromkeys(every)


def _below(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in _PASSED_OVER)
        yield from (str(Path(place) / name) for name in sorted(names) if kind_of(str(Path(place) / name)))


def shown(name: str) -> str:
    """Return how a file is called in what is printed."""
    return "<stdin>" if name == STDIN else name


def read_file(name: str) -> bytes:
    """Return what is in a file, or comes on stdin.

    Raises:
        UnreadableError: it cannot be read, is no file, or is larger than anything that is looked at.
    """
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            path = Path(name)
            if not path.is_file():
                raise UnreadableError(f"{name} is no regular file")
            with path.open("rb") as stream:
                data = stream.read(LARGEST + 1)
    except OSError as error:
        raise UnreadableError(f"cannot read {name}: {error.strerror}") from None
    if len(data) > LARGEST:
        raise UnreadableError(f"{shown(name)} is larger than {LARGEST >> 20} MiB, which no manifest is")
    return data
