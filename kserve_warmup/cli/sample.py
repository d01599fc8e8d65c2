"""``kserve-warmup sample``: recorded traffic → a representative sample set."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kserve_warmup.cli.inspect import print_set, summary
from kserve_warmup.errors import SampleError
from kserve_warmup.samples.datatypes import to_dtype
from kserve_warmup.samples.sample import Sample, TensorSpec
from kserve_warmup.samples.scrub import Scrubber
from kserve_warmup.samples.sources.record import BadRecord, ReadOptions
from kserve_warmup.samples.store import check_target
from kserve_warmup.samples.traffic import FORMATS, Tally, read, sample_traffic

_INPUT = re.compile(r"(?P<name>.+?):(?P<type>[A-Z0-9]+)(?:\[(?P<shape>[0-9, ]*)\])?")
_EVERY = 500


def run(
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="Files, folders and globs of traffic; .gz too.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the sample set; an older set in it is replaced.")],
    model: Annotated[str, typer.Option(help="Name of the model that the traffic was for.")],
    form: Annotated[
        str | None, typer.Option("--format", help=f"One of {', '.join(FORMATS)}. Default: told by each file's content.")
    ] = None,
    per_stratum: Annotated[int, typer.Option(min=1, help="Requests to keep of each signature and batch size.")] = 3,
    max_samples: Annotated[int, typer.Option(min=1, help="Requests to keep in all.")] = 200,
    seed: Annotated[int, typer.Option(help="Another seed keeps other requests.")] = 0,
    max_bad: Annotated[float, typer.Option(min=0, max=1, help="Share of unusable records above which to fail.")] = 0.01,
    batch_sizes: Annotated[
        str,
        typer.Option(
            help="For bare tensors (npz, perf-analyzer): rows in a request, such as 1,8; 0: no batch dimension."
        ),
    ] = "1",
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="For bare tensors: type and shape of a row, such as image:FP32[28,28]; repeatable."
        ),
    ] = None,
    scrub: Annotated[
        list[str] | None,
        typer.Option(
            help="File of rules by which private content is taken out, or 'strict': refuse text that no rule covers; "
            "repeatable."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Choose requests that stand for recorded traffic, and write them as a sample set."""
    options = ReadOptions(_sizes(batch_sizes), dict(map(_input, inputs or [])))
    scrubber = Scrubber.load(scrub or [])
    check_target(out)
    with_progress = _with_progress(read(sources, form=form, options=options))
    selected, tally = sample_traffic(
        with_progress,
        model,
        source=" ".join(sources),
        per_stratum=per_stratum,
        max_samples=max_samples,
        seed=seed,
        max_bad=max_bad,
    )
    if scrubber is not None:
        selected = scrubber.scrub(selected)
    selected.save(out)
    if as_json:
        bad = [{"where": b.where, "reason": b.reason} for b in tally.examples]
        result = {"out": str(out), "requests": tally.requests, "bad": tally.bad, "bad_examples": bad}
        sys.stdout.write(json.dumps(result | summary(selected), indent=2) + "\n")
    else:
        _report_bad(tally)
        print_set(selected)
        Console().print(f"{len(selected)} of {tally.requests:,} requests → {out}", highlight=False, soft_wrap=True)


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise SampleError(f"--batch-sizes {text!r}: write sizes with commas between them, such as 1,8") from None


def _input(text: str) -> tuple[str, TensorSpec]:
    match = _INPUT.fullmatch(text)
    if not match:
        raise SampleError(f"--input {text!r}: write NAME:TYPE[SHAPE], such as image:FP32[28,28]")
    to_dtype(match["type"])
    shape = tuple(int(size) for size in (match["shape"] or "").split(",") if size.strip())
    return match["name"], TensorSpec(match["name"], match["type"], shape)


def _report_bad(tally: Tally) -> None:
    lines = [f"{bad.where}: {bad.reason}" for bad in tally.examples]
    if tally.bad > len(lines):
        lines.append(f"… and {tally.bad - len(lines)} more")
    if lines:
        sys.stderr.write(f"skipped {tally.bad} of {tally.bad + tally.requests} records:\n")
        sys.stderr.writelines(f"  {line}\n" for line in lines)


def _with_progress(records: Iterable[Sample | BadRecord]) -> Iterator[Sample | BadRecord]:
    """Pass records on, with a counter on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from records
        return
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} records read"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("read", total=None)
        number = 0
        for number, record in enumerate(records, 1):
            if number % _EVERY == 0:
                progress.update(task, completed=number)
            yield record
        progress.update(task, completed=number)
