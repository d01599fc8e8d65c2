"""``kserve-warmup triton --calibrate``: counts that were measured, written and shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.table import Table

from kserve_warmup.cli.console import notes, output, warn
from kserve_warmup.triton.calibrate import ModelResult, calibrate
from kserve_warmup.triton.lock import locked
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.remote import calibrate_on, prove_on
from kserve_warmup.triton.repository import apply_all, plan_without
from kserve_warmup.triton.trial import Trial, try_out
from kserve_warmup.views.figures import NOTHING, number, times
from kserve_warmup.views.terminal import shown, table_of

TRIAL = "trial load of the repository on a disposable tritonserver"


def calibrate_and_write(
    repository: Path,
    samples: Path,
    models: Sequence[str],
    options: Options,
    *,
    server: str | None,
    trial: bool,
    as_json: bool,
) -> None:
    """Calibrate, write the counts of what runs, and show all; exit 1 when something had to be left out.

    ``server`` is a running one in explicit mode; without it a disposable one is started. ``trial`` loads the whole
    repository before anything is written.
    """
    tell = notes().say
    if server is None:
        results = calibrate(repository, samples, models, options, tell)
    else:
        results = calibrate_on(server, repository, samples, models, options=options, tell=tell)
    good = [r for r in results if r.problem is None]
    if good:
        measured = replace(options, counts={r.model: r.counts for r in good}, costs={r.model: r.costs for r in good})
        with locked(repository, tell):
            make = partial(plan_without, repository, samples, [r.model for r in good], measured)
            plan = make({})
            if trial and plan.changed:
                tell(TRIAL)
                plan, tried = try_out(repository, make, options.max_misfit, options.loaded_first)
                _note_unproved(tried)
            apply_all(plan.changed)
    if server is not None:
        results = [r if r.problem else prove_on(server, repository, r) for r in results]
    if as_json:
        typer.echo(json.dumps({"models": [_facts(r) for r in results]}, indent=2))
    else:
        console = output()
        for result in results:
            console.print(_table(result))
    if not all(r.whole for r in results):
        raise typer.Exit(1)


def _note_unproved(trial: Trial) -> None:
    for name, why in trial.unproved.items():
        warn(f"kserve-warmup: {name}: not proved by a trial load: {why}")


def _facts(result: ModelResult) -> dict[str, Any]:
    facts: dict[str, Any] = {"model": result.model, "written": result.problem is None, "problem": result.problem}
    facts |= {"blocks": [asdict(b) for b in result.blocks], "note": result.note}
    facts["proofs"] = [proof.facts() for proof in result.proofs]
    facts["instances"] = next((str(p.instances) for p in result.proofs if p.instances), None)
    for name, measured in (("cold", result.cold), ("warm", result.warm)):
        facts[name] = measured and {
            "first_ms": measured.first_ms,
            "steady_ms": measured.steady_ms,
            "ratio": measured.ratio,
        }
    return facts


def _table(result: ModelResult) -> Table:
    table = table_of(f"[bold]{shown(result.model)}[/]", "block", ("first\nms", "steady\nms", "count"))
    for block in result.blocks:
        state = "[green]steady[/]" if block.steady else f"[red]{shown(block.problem or '')}[/]"
        count = NOTHING if block.count is None else f"{block.count:,}"
        table.add_row(shown(block.name), number(block.first_ms), number(block.steady_ms), count, state)
    table.caption = "\n".join(shown(line) for line in _lines(result))
    return table


def _lines(result: ModelResult) -> list[str]:
    if result.problem is not None:
        return [f"NOT written: {result.problem}"]
    lines = [str(proof) for proof in result.proofs]
    if result.cold and result.warm:
        cold, warm = times(result.cold.ratio), times(result.warm.ratio)
        lines.append(f"first ÷ steady from outside: cold {cold}, with this warm-up {warm}")
    return [*lines, *([result.note] if result.note else [])]
