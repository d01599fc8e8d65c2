"""Comments that say that a finding is meant: ``# kserve-warmup: ignore=RULE,RULE`` on its line, or alone above it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from kserve_warmup.lint.findings import Finding

_COMMENT = re.compile(r"#\s*kserve-warmup:\s*ignore(-file)?=([\w,\- ]+)")


@lru_cache(maxsize=4)
def _meant(text: str) -> tuple[frozenset[str], dict[int, frozenset[str]]]:
    """Return the rules that are off in the whole file, and those that are off in a line, by its number."""
    whole: set[str] = set()
    lines: dict[int, frozenset[str]] = {}
    waiting: frozenset[str] = frozenset()
    for number, line in enumerate(text.splitlines(), 1):
        found = _COMMENT.search(line)
        named = frozenset(n.strip() for n in found[2].split(",")) if found else frozenset()
        alone = line.lstrip().startswith("#")
        if found and found[1]:
            whole |= named
        elif alone:
            waiting |= named
        else:
            lines[number] = named | waiting
            waiting = frozenset()
    return frozenset(whole), lines


def not_meant(text: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings of a text that no comment in it allows."""
    whole, lines = _meant(text) if "kserve-warmup:" in text else (frozenset(), {})
    for finding in findings:
        if finding.rule not in whole and finding.rule not in lines.get(finding.position.line, ()):
            yield finding
