"""The lint as a whole: each file is read, looked at by the rules of its kind, and what a comment allows is left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kserve_warmup.lint import baked_cache, triton_blocks, triton_coverage
from kserve_warmup.lint.dockerfile import Instruction, instructions
from kserve_warmup.lint.findings import Finding, Knowledge, Rule, UnreadableError
from kserve_warmup.lint.lint_files import Kind, kind_of, named_files, read_file, shown
from kserve_warmup.lint.manifest_lint import Manifest, lint_manifests, read_manifest
from kserve_warmup.lint.suppression import not_meant
from kserve_warmup.lint.triton_models import TritonModel, read_model_file

OF_MODELS: tuple[Rule[TritonModel], ...] = (
    triton_blocks.NO_BATCH,
    triton_blocks.MADE_UP,
    triton_blocks.WRONG_SIZE,
    triton_blocks.TOO_FEW,
    triton_coverage.COLD,
    triton_coverage.MEMBERS,
    triton_coverage.UNCOVERED,
    triton_coverage.STALE,
)
OF_IMAGES: tuple[Rule[Sequence[Instruction]], ...] = (baked_cache.RULE,)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the lint found, in order, and in a line each what it could not read; ``texts`` are the files by name."""

    findings: tuple[Finding, ...]
    unreadable: tuple[str, ...]
    texts: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def files(self) -> int:
        """Return the number of files that the rules looked at."""
        return len(self.texts)


def lint(paths: Sequence[str], known: Knowledge, ignored: Sequence[str] = ()) -> Outcome:
    """Look at files and folders.

    Args:
        paths: Files, folders that are gone through, and ``-`` for what comes on stdin.
        known: What was measured.
        ignored: Rules that are off.

    Raises:
        UnreadableError: a path is not there.
    """
    run = _Run(known)
    for name in named_files(paths):
        run.take(name)
    run.found += lint_manifests(run.manifests, known)
    kept = {
        finding
        for path, text in run.texts.items()
        for finding in not_meant(text, [f for f in run.found if f.path == path])
        if finding.rule not in ignored
    }
    return Outcome(tuple(sorted(kept, key=lambda f: f.order)), tuple(run.unreadable), run.texts)


@dataclass
class _Run:
    """What has been read so far; manifests wait, since runtimes count for the services of all files."""

    known: Knowledge
    texts: dict[str, str] = field(default_factory=dict)
    manifests: list[Manifest] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    def take(self, name: str) -> None:
        """Read a file; one that cannot be read keeps no other from being looked at."""
        path, kind = shown(name), kind_of(name)
        try:
            data = read_file(name)
        except UnreadableError as error:
            self.unreadable.append(str(error))
            return
        text = data.decode("utf-8-sig", "surrogateescape")
        try:
            if kind is Kind.TRITON:
                model = read_model_file(Path(name), data)
                self.found += _all(OF_MODELS, path, model, self.known)
            elif kind is Kind.IMAGE:
                self.found += _all(OF_IMAGES, path, tuple(instructions(text)), self.known)
            elif not self._manifest(path, text):
                return
        except UnreadableError as error:
            self.unreadable.append(f"{path}: {error}")
        self.texts[path] = text

    def _manifest(self, path: str, text: str) -> bool:
        manifest = read_manifest(path, text)
        if manifest is None or not (manifest.objects or manifest.unreadable):
            return False
        self.manifests.append(manifest)
        if manifest.unreadable:
            self.unreadable.append(f"{path}: {manifest.unreadable}")
        return True


def _all(rules: Sequence[Rule[Any]], path: str, subject: Any, known: Knowledge) -> Iterator[Finding]:
    for rule in rules:
        yield from rule.findings(path, subject, known)
