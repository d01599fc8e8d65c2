"""``kserve-warmup inspect``: what a sample set holds and covers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from kserve_warmup.cli.console import output, warn
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.strata import by_stratum
from kserve_warmup.samples.strata import share as part_of
from kserve_warmup.views.figures import count, share
from kserve_warmup.views.terminal import shown


def run(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a sample set.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
    export_perf_analyzer: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write them for perf_analyzer's --input-data."),
    ] = None,
) -> None:
    """Show what a sample set holds, stratum by stratum, and how much of the traffic it covers."""
    samples = SampleSet.open(folder)
    if export_perf_analyzer is not None:
        _export(samples, export_perf_analyzer)
    if as_json:
        sys.stdout.write(json.dumps(summary(samples), indent=2) + "\n")
    else:
        print_set(samples)


def _export(samples: SampleSet, file: Path) -> None:
    from kserve_warmup.cli.report import write
    from kserve_warmup.sampling.export import perf_analyzer_data

    exported = perf_analyzer_data(samples)
    write(file, json.dumps(exported.document) + "\n")
    if exported.left_out:
        left_out = f"{count(exported.left_out, 'sample')} left out of {file}"
        warn(f"kserve-warmup: {left_out}: perf_analyzer sends requests of one set of inputs alone")


def summary(samples: SampleSet) -> dict[str, Any]:
    """Return a set's facts as JSON-compatible data, its strata in descending share; ``bytes`` are of all its bodies."""
    head = {"model": samples.model, "source": samples.source, "created": samples.created, "coverage": samples.coverage}
    totals = {"samples": len(samples), "bytes": sum(s.size for s in samples)}
    return head | {"selection": samples.selection} | totals | {"strata": strata(samples)}


def strata(samples: SampleSet) -> list[dict[str, Any]]:
    """Return a row for each stratum in descending share: how many samples and bytes it has."""
    return [
        {
            "protocol": stratum.protocol,
            "signature": str(stratum.signature),
            "variant": stratum.words,
            "batch": stratum.batch,
            "samples": len(group),
            "bytes": sum(sample.size for sample in group),
            "share": part_of(group),
        }
        for stratum, group in by_stratum(samples).items()
    ]


def print_set(samples: SampleSet) -> None:
    """Print a set for a person."""
    console = output()
    table = Table(box=box.SIMPLE, pad_edge=False)
    for heading in ("protocol", "signature", "batch", "samples", "bytes", "share"):
        fixed = heading != "signature"
        right = heading in ("batch", "samples", "bytes", "share")
        table.add_column(heading, justify="right" if right else "left", no_wrap=fixed, overflow="fold")
    for row in strata(samples):
        figures = (f"{row['batch']:,}", f"{row['samples']:,}", f"{row['bytes']:,}", share(row["share"]))
        table.add_row(row["protocol"], shown(f"{row['signature']} {row['variant']}".rstrip()), *figures)
    covered = f"{share(samples.coverage)} of the traffic covered"
    console.say(f"{samples.model}: {count(len(samples), 'sample')}, {covered}")
    source = f"from {samples.source}, {samples.created}" if samples.source else samples.created
    console.say(source)
    for line in _scrubbed(samples.selection.get("scrub")):
        console.say(line)
    console.print(table)


def _scrubbed(done: Any) -> Iterator[str]:
    """Yield what each rule has done; older sets name the rules alone, and people edit manifests."""
    for entry in done if isinstance(done, list) else []:
        if isinstance(entry, dict) and {"rule", "requests", "places"} <= entry.keys():
            places, requests = (entry[name] for name in ("places", "requests"))
            yield f"scrubbed {entry['rule']}: {_counted(places, 'place')} in {_counted(requests, 'request')}"
        else:
            yield f"scrubbed {entry}: not counted"


def _counted(value: Any, noun: str) -> str:
    return count(value, noun) if isinstance(value, int) else f"{value} {noun}s"
