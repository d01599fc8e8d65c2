"""``kserve-warmup sample``: recorded traffic → a representative sample set."""

from __future__ import annotations

import json
import os
import re
import sys
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from kserve_warmup.cli.console import output, warn
from kserve_warmup.cli.inspect import print_set, summary
from kserve_warmup.cli.options import sizes
from kserve_warmup.cli.progress import reading
from kserve_warmup.errors import SampleError
from kserve_warmup.extras import optional
from kserve_warmup.protocols.tensors import to_dtype
from kserve_warmup.samples.sample import TensorSpec
from kserve_warmup.samples.store import SampleSet, check_target
from kserve_warmup.sampling.engines import Engine, local
from kserve_warmup.sampling.formats.record import ReadOptions
from kserve_warmup.sampling.reader import FORMATS, Job, Tally, sample_traffic
from kserve_warmup.sampling.scrub.scrubber import Scrubber
from kserve_warmup.sampling.select import Limits
from kserve_warmup.transports.endpoints import OwnPaths
from kserve_warmup.views.figures import count, share

_SIZE = re.compile(r"(?P<count>\d{1,15}) ?(?P<unit>|[KMG]i?B)", re.IGNORECASE)
_UNITS = {"": 0, "KB": 10, "KIB": 10, "MB": 20, "MIB": 20, "GB": 30, "GIB": 30}
_INPUT = re.compile(r"(?P<name>.+?):(?P<type>[A-Z0-9]+)(?:\[(?P<shape>[0-9, ]*)\])?")


class EngineName(str, Enum):
    """What reads the traffic."""

    LOCAL = "local"
    RAY = "ray"


class Shapes(str, Enum):
    """Which requests count as alike."""

    EXACT = "exact"
    BUCKETS = "buckets"


def run(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE...", help="Files, folders, globs and URLs of traffic; compressed too."),
    ],
    *,
    out: Annotated[Path, typer.Option(help="Folder of the sample set; an older set in it is replaced.")],
    model: Annotated[str, typer.Option(help="Name of the model that the traffic was for.")],
    path: Annotated[
        str | None,
        typer.Option(
            metavar="/PATH",
            help="Where a server with an API of its own took them, such as /predict; all others are passed over.",
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help=f"One of {', '.join(FORMATS)}. Default: told by each file's content.")
    ] = None,
    per_stratum: Annotated[int, typer.Option(min=1, help="Requests to keep of each signature and batch size.")] = 3,
    max_samples: Annotated[int, typer.Option(min=1, help="Requests to keep in all.")] = 200,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, help="Bytes of all bodies together, such as 900000 for a ConfigMap.")
    ] = None,
    max_body: Annotated[
        str, typer.Option(metavar="SIZE", help="Larger requests are left out, such as 16MB or a number of bytes.")
    ] = "256MB",
    seed: Annotated[int, typer.Option(help="Another seed keeps other requests.")] = 0,
    shapes: Annotated[
        Shapes, typer.Option(help="buckets: inputs are alike when their sizes round up to the same power of two.")
    ] = Shapes.EXACT,
    since: Annotated[
        str | None, typer.Option(help="Only requests from this time on, such as 2026-05-01T08:00Z; UTC without a zone.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only requests before this time.")] = None,
    status_ok: Annotated[
        bool,
        typer.Option(
            "--status-ok", help="Only requests that were answered with 200, where status or answers are recorded."
        ),
    ] = False,
    max_bad: Annotated[float, typer.Option(min=0, max=1, help="Share of unusable records above which to fail.")] = 0.01,
    batch_sizes: Annotated[
        str,
        typer.Option(
            help="For bare tensors (tables, npz, perf-analyzer): rows in a request, such as 1,8; 0: no batch dimension."
        ),
    ] = "1",
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="For bare tensors: type and shape of a row, such as image:FP32[28,28]; repeatable."
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns", help="For tables: the columns that make an input, such as x=width,height; repeatable."
        ),
    ] = None,
    scrub: Annotated[
        list[str] | None,
        typer.Option(
            help="File of rules by which private content is taken out, or 'strict': refuse text that no rule covers; "
            "repeatable."
        ),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="local: the cores of this machine; ray: a Ray cluster (needs the extra [ray]).")
    ] = EngineName.LOCAL,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes that read. Default: one a core, or one a CPU of the cluster.")
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option(help="Ray cluster, such as ray://head:10001. Default: $RAY_ADDRESS, or a local one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Choose requests that stand for recorded traffic, and write them as a sample set."""
    optional("xxhash", "sample needs")  # another hash would choose other requests
    job = Job(
        Limits(per_stratum, max_samples, max_bytes, seed),
        ReadOptions(
            sizes(batch_sizes),
            dict(map(_input, inputs or [])),
            dict(map(_columns, columns or [])),
            model,
            OwnPaths(path).path_for(model),
            _bytes(max_body),
        ),
        buckets=shapes is Shapes.BUCKETS,
        since=_time("--since", since),
        until=_time("--until", until),
        status_ok=status_ok,
    )
    scrubber = Scrubber.load(scrub or [])
    reader = _engine(engine, jobs, ray_address)
    check_target(out)
    with reading() as progress:
        selected, tally = sample_traffic(
            sources, model, job=job, form=form, max_bad=max_bad, engine=reader, scrubber=scrubber, progress=progress
        )
    selected.save(out)
    if as_json:
        bad = [{"where": b.where, "reason": b.reason} for b in tally.examples]
        counts = {name: getattr(tally, name) for name in ("requests", "bad", "unfinished", "passed_over")}
        result = {"out": str(out), **counts, "bad_examples": bad}
        sys.stdout.write(json.dumps(result | summary(selected), indent=2) + "\n")
    else:
        _report_bad(tally)
        _report_unscrubbed(selected)
        print_set(selected)
        _print_left_out(selected)
        for note in selected.selection.get("notes", ()):
            warn(f"note: {note}")
        output().say(f"{len(selected)} of {tally.requests:,} requests → {out}")


def _engine(name: EngineName, jobs: int | None, address: str | None) -> Engine:
    if name is EngineName.RAY:
        from kserve_warmup.sampling.engines import ray

        return ray.engine(address, jobs)
    if address:
        raise SampleError("--ray-address is for --engine ray: add that, or leave the address out")
    return local.engine(jobs or _cores())


def _cores() -> int:
    """Return the cores that this process may use; macOS only tells how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    if not match or not int(match["count"]):
        raise SampleError(f"--max-body {text!r}: write a size such as 256MB, or a number of bytes")
    return int(match["count"]) << _UNITS[match["unit"].upper()]


def _input(text: str) -> tuple[str, TensorSpec]:
    match = _INPUT.fullmatch(text)
    if not match:
        raise SampleError(f"--input {text!r}: write NAME:TYPE[SHAPE], such as image:FP32[28,28]")
    to_dtype(match["type"])
    shape = tuple(int(size) for size in (match["shape"] or "").split(",") if size.strip())
    return match["name"], TensorSpec(match["name"], match["type"], shape)


def _columns(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, columns = text.partition("=")
    if not name or not all(columns.split(",")):
        raise SampleError(f"--columns {text!r}: write INPUT=COLUMN,COLUMN, such as x=width,height")
    return name, tuple(columns.split(","))


def _time(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise SampleError(f"{option} {text!r}: write a date and time, such as 2026-05-01T08:00Z") from None
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def _report_bad(tally: Tally) -> None:
    lines = [f"{bad.where}: {bad.reason}" for bad in tally.examples]
    if tally.bad > len(lines):
        lines.append(f"… and {tally.bad - len(lines)} more")
    if lines:
        cut = f", {tally.unfinished} of them unfinished at a file's end" if tally.unfinished else ""
        sys.stderr.write(f"skipped {tally.bad} of {tally.bad + tally.requests} records{cut}:\n")
        for line in lines:
            warn(f"  {line}")
    if tally.passed_over:
        what = "outside the time, status or path asked for, or without an answer where others have one"
        sys.stderr.write(f"passed over {tally.passed_over} requests {what}\n")


def _report_unscrubbed(selected: SampleSet) -> None:
    """Name why requests that were chosen could not be scrubbed, and how many each."""
    for reason, number in selected.selection.get("unscrubbed", {}).items():
        warn(f"{count(number, 'request')} left out: could not be scrubbed: {reason}")


def _print_left_out(selected: SampleSet) -> None:
    """Name the strata that have no sample, with their share of the traffic."""
    left_out = selected.selection.get("left_out")
    if not left_out:
        return
    print_line = output().say
    strata, first = left_out["strata"], left_out["first"]
    print_line(f"{strata:,} strata, {share(left_out['share'])} of the traffic, have no sample:")
    for stratum in first:
        print_line(f"  {share(stratum['share'])}  {stratum['stratum']}")
    if strata > len(first):
        print_line(f"  … and {strata - len(first):,} more: give more --max-samples, or --shapes buckets")
