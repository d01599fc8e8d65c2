"""The lint as a whole: which files are looked at, and by which rules."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kserve_warmup.lint.findings import Finding, Knowledge, UnreadableError
from kserve_warmup.lint.manifest_lint import Manifest, lint_manifests, read_manifest
from kserve_warmup.lint.suppression import not_meant

STDIN = "-"
LARGEST = 64 << 20
"""Bytes of a file that is looked at; no manifest is so large."""

_YAML = (".yaml", ".yml", ".json")
_PASSED_OVER = {".git", "node_modules", "__pycache__", ".venv"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the lint found, in order, and in a line each what it could not read; ``texts`` are the files by name."""

    findings: tuple[Finding, ...]
    unreadable: tuple[str, ...]
    files: int
    texts: dict[str, str] = field(default_factory=dict, repr=False)


def lint(paths: Sequence[str], known: Knowledge, ignored: Sequence[str] = ()) -> Outcome:
    """Look at files and folders.

    Args:
        paths: Files, folders that are gone through, and ``-`` for what comes on stdin.
        known: What was measured.
        ignored: Rules that are off.

    Raises:
        UnreadableError: a path is not there.
    """
    texts: dict[str, str] = {}
    manifests: list[Manifest] = []
    unreadable: list[str] = []
    found: list[Finding] = []
    for name in files(paths):
        try:
            text = _read(name)
        except UnreadableError as error:
            unreadable.append(str(error))
            continue
        manifest = read_manifest(_shown(name), text)
        if manifest is None:
            continue
        texts[manifest.path] = text
        manifests.append(manifest)
        if manifest.unreadable:
            unreadable.append(f"{manifest.path}: {manifest.unreadable}")
    found += lint_manifests(manifests, known)
    kept = [
        finding
        for path, text in texts.items()
        for finding in not_meant(text, [f for f in found if f.path == path])
        if finding.rule not in ignored
    ]
    return Outcome(tuple(sorted(set(kept), key=lambda f: f.order)), tuple(unreadable), len(texts), texts)


def files(paths: Sequence[str]) -> Iterator[str]:
    """Yield the files that are named, and in folders those with a name that a rule looks at; each once.

    Raises:
        UnreadableError: a path is not there.
    """
    seen: set[str] = set()
    for path in paths:
        if path != STDIN and not Path(path).exists():
            raise UnreadableError(f"there is no {path}: name files, folders, or - for stdin")
        for name in _below(path) if path != STDIN and Path(path).is_dir() else [path]:
            if name not in seen:
                seen.add(name)
                yield name


def _below(folder: str) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in _PASSED_OVER)
        yield from (str(Path(place) / name) for name in sorted(names) if is_looked_at(name))


def is_looked_at(name: str) -> bool:
    """Return whether a file with this name may hold what a rule knows."""
    return name.endswith(_YAML)


def _shown(name: str) -> str:
    return "<stdin>" if name == STDIN else name


def _read(name: str) -> str:
    try:
        if name == STDIN:
            data = sys.stdin.buffer.read(LARGEST + 1)
        else:
            path = Path(name)
            if not path.is_file():
                raise UnreadableError(f"{name}: no regular file")
            with path.open("rb") as stream:
                data = stream.read(LARGEST + 1)
    except OSError as error:
        raise UnreadableError(f"cannot read {name}: {error.strerror}") from None
    if len(data) > LARGEST:
        raise UnreadableError(f"{_shown(name)}: larger than {LARGEST >> 20} MiB, which no manifest is")
    return data.decode("utf-8-sig", "surrogateescape")
