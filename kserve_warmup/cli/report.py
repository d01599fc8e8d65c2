"""``kserve-warmup report``: saved results as one HTML page or as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kserve_warmup.cli.console import notes, output
from kserve_warmup.errors import WarmupError
from kserve_warmup.files import write_whole


def run(
    reports: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="JSON files, earlier ones first: of KSERVE_WARMUP_REPORT, verify, bake --json or the demo.",
        ),
    ],
    *,
    out: Annotated[Path | None, typer.Option(help="Write one HTML page that opens offline.")] = None,
) -> None:
    """Show what a warm-up, verify, bake or the demo found; several of a kind are compared, before and after."""
    from kserve_warmup.results import read_results
    from kserve_warmup.views.html import render_report
    from kserve_warmup.views.terminal import result_table

    found = [
        (label, result) for label, path in zip(_labels(reports), reports, strict=True) for result in read_results(path)
    ]
    if out is None:
        console = output()
        for _, result in found:
            console.print(result_table(result))
        return
    if out.resolve() in [path.resolve() for path in reports]:
        raise WarmupError(f"--out {out} is one of the reports: name another file, such as report.html")
    labels = [label for label, _ in found] if len(reports) > 1 else []
    page = render_report(*(result for _, result in found), labels=labels)
    write(out, page)
    notes().say(f"Report: {out}")


def write(path: Path, text: str) -> None:
    """Put ``text`` at ``path`` in one step.

    Raises:
        WarmupError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode())
    except OSError as error:
        raise WarmupError(f"cannot write {path}: {error.strerror}") from None


def _labels(paths: list[Path]) -> list[str]:
    """Return the files' names without their endings, or the whole paths where those are not distinct."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
