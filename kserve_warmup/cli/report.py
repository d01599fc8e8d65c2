"""``kserve-warmup report``: saved warm-up reports as one HTML page or as tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kserve_warmup.cli.console import notes, output
from kserve_warmup.errors import WarmupError
from kserve_warmup.files import write_whole


def run(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT...", help="JSON files, earlier ones first; KSERVE_WARMUP_REPORT.")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Write one HTML page that opens offline.", show_default=False)
    ] = None,
) -> None:
    """Show warm-up reports; those of the same model are compared, before and after."""
    from kserve_warmup.html import render_report
    from kserve_warmup.report import read_report
    from kserve_warmup.terminal import report_table

    found = [read_report(path) for path in reports]
    if out is None:
        console = output()
        for report in found:
            console.print(report_table(report))
        return
    if out.resolve() in [path.resolve() for path in reports]:
        raise WarmupError(f"--out {out} is one of the reports: name another file, such as report.html")
    labels = _labels(reports) if len(reports) > 1 else []
    page = render_report(*found, labels=labels)
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
