"""Edits that mend findings, made in the text as it stands: no line is written that no edit touches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kserve_warmup.errors import WarmupError
from kserve_warmup.files import write_whole
from kserve_warmup.lint.findings import Edit, Finding, UnreadableError
from kserve_warmup.lint.lint_run import Outcome
from kserve_warmup.lint.yaml_nodes import documents

_BOM = b"\xef\xbb\xbf"


def edited(text: str, edits: Iterable[Edit]) -> str:
    """Return a text with edits made, in its own kind of line ends; of those that overlap the first only."""
    parts: list[str] = []
    line_end = "\r\n" if "\r\n" in text else "\n"
    end = 0
    for edit in sorted(set(edits), key=lambda e: (e.start, e.end)):
        if edit.start < end:
            continue
        parts += [text[end : edit.start], edit.text.replace("\n", line_end)]
        end = edit.end
    return "".join([*parts, text[end:]])


def fix(outcome: Outcome) -> list[Finding]:
    """Mend what can be mended in the files themselves, and return those findings.

    Raises:
        WarmupError: a file changed in the meantime, or cannot be written.
    """
    fixed: list[Finding] = []
    for name, text in outcome.texts.items():
        found = [f for f in outcome.findings if f.path == name and f.edits]
        path = Path(name)
        if not found or not path.is_file():
            continue
        after = edited(text, (edit for finding in found for edit in finding.edits))
        if _is_yaml(after):
            _write(path, text, after)
            fixed += found
    return fixed


def _is_yaml(text: str) -> bool:
    try:
        return all(place is not None for place in documents(text))
    except UnreadableError:
        return False


def _write(path: Path, before: str, after: str) -> None:
    try:
        data = path.read_bytes()
        if data.decode("utf-8-sig", "surrogateescape") != before:
            raise WarmupError(f"{path} was changed in the meantime: run again")
        mark = _BOM if data.startswith(_BOM) else b""
        write_whole(path, mark + after.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise WarmupError(f"cannot write {path}: {error.strerror}") from None
