"""The rules' documentation, written from the rules themselves: ``docs/lint.md`` holds what this returns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kserve_warmup.lint.findings import Rule
from kserve_warmup.lint.rule_list import ALL

_LANGUAGES = {".yaml": "yaml", ".pbtxt": "protobuf"}


def table() -> str:
    """Return the rules in a table with links to their sections, as Markdown."""
    rows = [f"| [{rule.id}](#{rule.id}) | {rule.severity} | {rule.summary} |\n" for rule in ALL]
    return "".join(["| rule | severity | what is told |\n|---|---|---|\n", *rows])


def sections() -> str:
    """Return a section a rule, with its failing example, as Markdown."""
    return "\n".join(_section(rule) for rule in ALL)


def _section(rule: Rule[Any]) -> str:
    needed = f"With {rule.known.told}:" if rule.known.ready_seconds else "Told:"
    head = f"### {rule.id}\n\n{rule.severity.name.capitalize()}: {rule.summary}.\n\n{rule.page}\n\n{needed}\n\n"
    return head + "\n".join(_files(rule))


def _files(rule: Rule[Any]) -> Iterator[str]:
    for name, content in rule.failing.items():
        if isinstance(content, str):
            language = next((words for ending, words in _LANGUAGES.items() if name.endswith(ending)), "dockerfile")
            yield f"```{language}\n# {name}\n{content.rstrip()}\n```\n"
        elif len(content) > 1:  # the model itself is of no interest
            yield f"`{name}`: {len(content)} bytes\n"
