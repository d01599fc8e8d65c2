"""What was found as text, JSON, SARIF 2.1.0 and GitHub's workflow commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

from kserve_warmup.lint.findings import Finding, Severity
from kserve_warmup.lint.lint_run import Outcome
from kserve_warmup.lint.rule_list import RULES
from kserve_warmup.printable import printable

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_text(outcome: Outcome) -> str:
    """Return a line a finding, and one that counts them."""
    lines = [str(finding) for finding in outcome.findings]
    numbers = {s: sum(f.severity == s for f in outcome.findings) for s in sorted(Severity, reverse=True)}
    told = ", ".join(f"{n} {s}" for s, n in numbers.items() if n) or "nothing found"
    return "\n".join([*lines, f"{outcome.files} files: {told}", ""])


def as_json(outcome: Outcome) -> str:
    """Return one JSON object."""
    data = {
        "files": outcome.files,
        "findings": [finding.to_dict() for finding in outcome.findings],
        "unreadable": list(outcome.unreadable),
    }
    return json.dumps(data, indent=2) + "\n"


def as_sarif(outcome: Outcome) -> str:
    """Return a SARIF 2.1.0 log of one run, as code scanning takes it."""
    names = list(RULES)
    driver: dict[str, Any] = {
        "name": "kserve-warmup",
        "version": version("kserve-warmup"),
        "rules": [
            {
                "id": rule.id,
                "shortDescription": {"text": rule.summary},
                "fullDescription": {"text": " ".join(rule.page.split())},
                "help": {"text": f"docs/lint.md#{rule.id}"},
                "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            }
            for rule in RULES.values()
        ],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, names) for finding in outcome.findings],
        "invocations": [
            {
                "executionSuccessful": not outcome.unreadable,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": line}} for line in outcome.unreadable
                ],
            }
        ],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _sarif_result(finding: Finding, names: list[str]) -> dict[str, Any]:
    region = {"startLine": finding.position.line, "startColumn": finding.position.column}
    path = PurePath(finding.path)
    uri = path.as_uri() if path.is_absolute() else _escaped_uri(path.as_posix())
    return {
        "ruleId": finding.rule,
        "ruleIndex": names.index(finding.rule),
        "level": _LEVELS[finding.severity],
        "message": {"text": printable(finding.message)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}],
    }


def _escaped_uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path.encode("utf-8", "surrogateescape"))


def as_github(outcome: Outcome) -> str:
    """Return GitHub's workflow commands, which put each finding beside its line in a pull request."""
    lines = [_command(finding) for finding in outcome.findings]
    lines += [f"::error::{_data(line)}" for line in outcome.unreadable]
    return "".join(f"{line}\n" for line in lines)


def _command(finding: Finding) -> str:
    place = f"file={_property(finding.path)},line={finding.position.line},col={finding.position.column}"
    return f"::{_COMMANDS[finding.severity]} {place},title={_property(finding.rule)}::{_data(finding.message)}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


FORMATS: dict[str, Callable[[Outcome], str]] = {
    "text": as_text,
    "json": as_json,
    "sarif": as_sarif,
    "github": as_github,
}
