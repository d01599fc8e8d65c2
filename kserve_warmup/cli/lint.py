"""``kserve-warmup lint``: what will serve cold."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated

import typer

from kserve_warmup.cli.console import warn
from kserve_warmup.errors import WarmupError

SEVERITIES = ("error", "warning", "info", "never")


def run(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Manifests, Triton repositories, Dockerfiles, folders; - is stdin."),
    ],
    *,
    severity: Annotated[
        str, typer.Option(metavar="error|warning|info|never", help="Exit 1 if a finding is at least so severe.")
    ] = "warning",
    form: Annotated[
        str, typer.Option("--format", metavar="text|json|sarif|github", help="How findings are written.")
    ] = "text",
    report: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A measured time to ready: a warm-up's report, or what verify --json wrote."),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Sample sets with which Triton's generated warm-up is compared."),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what is safe to mend, in the files themselves.")] = False,
    ignore: Annotated[list[str] | None, typer.Option(metavar="RULE", help="A rule that is off; repeatable.")] = None,
) -> None:
    """Say what will serve cold, where, and how to mend that."""
    from kserve_warmup.lint.lint_fixes import fix as mend
    from kserve_warmup.lint.lint_formats import FORMATS
    from kserve_warmup.lint.lint_run import lint
    from kserve_warmup.lint.measured_start import read_knowledge
    from kserve_warmup.lint.rule_list import RULES

    _check("--severity", [severity], SEVERITIES)
    _check("--format", [form], FORMATS)
    _check("--ignore", ignore or (), RULES)
    if fix and "-" in paths:
        msg = "--fix edits files, and stdin is none: name the files"
        raise WarmupError(msg)
    known = read_knowledge(report or (), samples)
    outcome = lint(paths, known, ignore or ())
    if fix and (fixed := mend(outcome)):
        for finding in fixed:
            warn(f"fixed: {finding}")
        outcome = lint(paths, known, ignore or ())
    sys.stdout.write(FORMATS[form](outcome))
    for line in outcome.unreadable:
        warn(f"kserve-warmup: {line}")
    worst = max((finding.severity for finding in outcome.findings), default=None)
    if outcome.unreadable:
        raise typer.Exit(2)
    if severity != "never" and worst is not None and worst >= _severity(severity):
        raise typer.Exit(1)


def _check(option: str, given: Iterable[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            raise WarmupError(f"{option} {name!r}: write one of {', '.join(known)}")


def _severity(name: str) -> int:
    from kserve_warmup.lint.findings import Severity

    return Severity[name.upper()]
