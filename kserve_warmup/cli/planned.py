"""What ``kserve-warmup triton`` has planned and written, in words and for machines."""

from __future__ import annotations

import difflib
import json

import typer

from kserve_warmup.cli.console import output, warn
from kserve_warmup.triton.plan import ModelPlan
from kserve_warmup.triton.repository import RepositoryPlan
from kserve_warmup.triton.trial import Trial
from kserve_warmup.triton.warmup_files import WARMUP


def print_plan(plan: RepositoryPlan, trial: Trial, *, check: bool, as_json: bool) -> None:
    """Print what was done, or would be (``check``), and what the trial load showed."""
    if as_json:
        models = [_facts(m) | _tried(m.name, trial) for m in plan.models]
        typer.echo(json.dumps({"models": models, "skipped": plan.skipped}, indent=2))
        return
    say = output().say
    for model in plan.models:
        ran = trial.proved.get(model.name)
        say(f"{model.name}: {_line(model, check=check)}{f'; a trial load ran {ran}' if ran else ''}")
        if model.warning:
            warn(f"kserve-warmup: {model.name}: {model.warning}")
        if why := trial.unproved.get(model.name):
            warn(f"kserve-warmup: {model.name}: not proved by a trial load: {why}")
    for line in plan.skipped:
        say(line)


def _tried(model: str, trial: Trial) -> dict[str, object]:
    ran, why = trial.proved.get(model), trial.unproved.get(model)
    return {"trial_load": {"ran": str(ran)} if ran else {"not_proved": why} if why else None}


def _facts(plan: ModelPlan) -> dict[str, object]:
    facts: dict[str, object] = {"model": plan.name, "changed": plan.changed, "reason": plan.reason}
    blocks = [{"name": b.name, "batch_size": b.batch_size, "count": b.count} for b in plan.blocks]
    return facts | {"blocks": blocks, "coverage": plan.coverage, "files": sorted(plan.data), "warning": plan.warning}


def _line(plan: ModelPlan, *, check: bool) -> str:
    if not plan.changed:
        return "up to date"
    if check:
        return f"out of date, {plan.reason}"
    if not plan.blocks:
        return plan.reason
    sizes = {i.file: i.size for block in plan.blocks for i in block.inputs}
    what = f"{len(plan.blocks)} blocks and {len(sizes)} data files ({sum(sizes.values()):,} bytes)"
    return f"wrote {what} for {plan.coverage:.1%} of the traffic"


def print_diff(plan: RepositoryPlan) -> None:
    """Print what would change in each configuration, and which data files would come and go."""
    say = output().say
    for model in plan.changed:
        old, new = (
            (text or b"").decode(errors="replace").splitlines(keepends=True) for text in (model.before, model.after)
        )
        path = f"{model.name}/config.pbtxt"
        for line in difflib.unified_diff(old, new, f"a/{path}", f"b/{path}"):
            say(line.rstrip("\n").expandtabs(4))
        sizes = {i.file: i.size for block in model.blocks for i in block.inputs}
        for name, size in sorted(sizes.items()):
            if not (model.folder / WARMUP / name).exists():
                say(f"+++ {model.name}/warmup/{name} ({size:,} bytes)")
        for name in sorted(model.stale):
            say(f"--- {model.name}/{name}")
