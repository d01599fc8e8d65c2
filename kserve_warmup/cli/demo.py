"""``kserve-warmup demo``: the main job end to end on real models and both real servers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kserve_warmup.cli.console import PlainConsole, notes, output
from kserve_warmup.files import shipped
from kserve_warmup.printable import printable


def run(
    *,
    models: Annotated[
        str | None,
        typer.Option(
            help="Which of its models, with commas between: digits_mlp, digits_knn, silero_vad, digits_forest, which "
            "run when it is left out; silero_vad_jit and digits_cnn, which need the extra torch."
        ),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="Fresh processes for each figure; their median is shown.")] = 1,
    requests: Annotated[int, typer.Option(min=2, help="Requests to send to each process.")] = 10,
    out: Annotated[Path, typer.Option(help="Folder for recordings, sample sets, result and report.")] = Path(
        "out/demo"
    ),
    repository: Annotated[Path | None, typer.Option(help="Another model repository than the demo's own.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON instead of the table.")] = False,
) -> None:
    """Measure the first request against the steady ones: KServe and Triton, cold and warm, on real models."""
    from kserve_warmup.cli.report import write
    from kserve_warmup.demo.demonstration import Options, check, left_out
    from kserve_warmup.demo.demonstration import run as run_demo
    from kserve_warmup.demo.recordings import MODELS
    from kserve_warmup.views.html import render_report
    from kserve_warmup.views.terminal import demo_table

    names = MODELS if models is None else map(str.strip, models.split(","))
    repository = (repository or shipped("model_repository")).resolve()
    options = Options(repository, out.resolve(), tuple(names), starts, requests)
    console = notes()
    check(options)
    if note := left_out(options):
        console.say(note)
    with _progress(console, options.steps) as tell:
        result = run_demo(options, tell)
    write(out / "result.json", result.to_json() + "\n")
    write(out / "report.html", render_report(result))
    if json:
        typer.echo(result.to_json())
    else:
        output().print(demo_table(result))
    console.say(f"Measured in {result.seconds:.0f} s. Report: {out / 'report.html'}")


@contextlib.contextmanager
def _progress(console: PlainConsole, steps: int) -> Iterator[Callable[[str], None]]:
    """Yield what is told of each step as it begins: a bar on a terminal, a plain line with the time elsewhere."""
    if not console.is_terminal:
        begin = time.monotonic()
        yield lambda step: console.say(f"{time.monotonic() - begin:5.0f} s  {step}")
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=steps)
        begun = 0

        def tell(step: str) -> None:
            nonlocal begun
            progress.update(task, completed=begun, description=printable(step))
            begun += 1

        yield tell
        progress.update(task, completed=steps, description="done")
