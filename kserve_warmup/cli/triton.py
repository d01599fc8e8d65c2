"""``kserve-warmup triton``: write model_warmup into the configurations of a Triton model repository."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kserve_warmup.cli.calibration import calibrate_and_write
from kserve_warmup.cli.console import output, warn
from kserve_warmup.cli.options import sizes
from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.blocks import MAX_BLOCKS
from kserve_warmup.triton.counts import EACH, FURTHER
from kserve_warmup.triton.lock import locked
from kserve_warmup.triton.plan import ModelPlan, Options
from kserve_warmup.triton.prove import prove
from kserve_warmup.triton.render import Templates
from kserve_warmup.triton.repository import RepositoryPlan, apply_all, plan_repository, plan_repository_removal
from kserve_warmup.triton.warmup_files import WARMUP


def run(
    repository: Annotated[Path, typer.Argument(help="The Triton model repository.")],
    *,
    samples: Annotated[
        Path | None, typer.Option(help="A sample set, or a folder of one such set per model name.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="Only this model; may be repeated. Default: all with samples."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when something is out of date.")
    ] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Write nothing; show what would change.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the generated warm-up away again.")] = False,
    prove_url: Annotated[
        str | None,
        typer.Option("--prove", metavar="URL", help="Ask a freshly loaded server whether warm-up ran as written."),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate", help="Find each block's count on a disposable tritonserver with copies of the models."
        ),
    ] = False,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="With --calibrate: a running server in explicit mode, instead of a disposable one."
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How often each block runs. Default: as the comment above the blocks says, such as calibrated; "
            f"else {EACH}, and the first block up to {FURTHER} times more. --remove first goes back to that.",
        ),
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(
            help="What the blocks of an instance may take together at most, by what was measured; without a "
            "measurement, as if a row took 0.1 s. Default: as the comment says, else no limit."
        ),
    ] = None,
    batch_sizes: Annotated[
        str, typer.Option(help="Such as 1,4,8; instead of the traffic's and the batcher's sizes.")
    ] = "",
    max_blocks: Annotated[int, typer.Option(min=1, help="Blocks a model gets at most.")] = MAX_BLOCKS,
    templates: Annotated[
        Path | None,
        typer.Option(help="A folder of Jinja2 templates to use before the package's own."),
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="Write a minimal config.pbtxt where there is none.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write model_warmup blocks with real requests into config.pbtxt, and touch nothing else in it."""
    _one_job(
        check=check, diff=diff, remove=remove, prove_url=prove_url, calibrate=calibrate, server=server, count=count
    )
    models = model or []
    if prove_url is not None:
        _prove(repository, prove_url, models, as_json=as_json)
        return
    if remove:
        make = partial(plan_repository_removal, repository, models)
    elif samples is None:
        msg = "--samples is missing: name the sample set that 'kserve-warmup sample' wrote"
        raise TritonConfigError(msg)
    else:
        options = Options(
            count,
            tuple(sorted(sizes(batch_sizes))),
            max_blocks,
            create,
            Templates(templates),
            keep=count is None,
            max_seconds=max_seconds,
        )
        if calibrate:
            calibrate_and_write(repository, samples, models, options, server=server, as_json=as_json)
            return
        make = partial(plan_repository, repository, samples, models, options)
    if diff:
        _print_diff(make())
        return
    plan = make() if check else _written(repository, make)
    _print(plan, check=check, as_json=as_json)
    if check and plan.changed:
        raise typer.Exit(1)


def _written(repository: Path, make: Callable[[], RepositoryPlan]) -> RepositoryPlan:
    """Plan and write while no other generator does; return what was planned."""
    with locked(repository, lambda line: typer.echo(f"kserve-warmup: {line}", err=True)):
        plan = make()
        apply_all(plan.changed)
    return plan


def _one_job(
    *,
    check: bool,
    diff: bool,
    remove: bool,
    prove_url: str | None,
    calibrate: bool,
    server: str | None,
    count: int | None,
) -> None:
    """Refuse options that contradict each other."""
    if calibrate and (check or diff or remove or prove_url is not None or count is not None):
        msg = "--calibrate finds the counts and writes them: leave out --check, --diff, --remove, --prove and --count"
        raise TritonConfigError(msg)
    if server is not None and not calibrate:
        msg = "--server says where to --calibrate; to prove what a server has run, use --prove URL"
        raise TritonConfigError(msg)
    if sum((check, diff, remove, prove_url is not None)) > 1 and not (
        remove and (check or diff) and not (check and diff)
    ):
        msg = "--check, --diff, --remove and --prove are different jobs: give one"
        raise TritonConfigError(msg)


def _prove(repository: Path, url: str, models: list[str], *, as_json: bool) -> None:
    proofs = prove(repository, url, models)
    if as_json:
        typer.echo(
            json.dumps([{"model": p.model, "version": p.version, "counts": str(p.counts)} for p in proofs], indent=2)
        )
        return
    say = output().say
    for proof in proofs:
        say(f"{proof.model} version {proof.version}: warm-up ran as written, {proof.counts}")


def _print(plan: RepositoryPlan, *, check: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"models": [_facts(m) for m in plan.models], "skipped": plan.skipped}, indent=2))
        return
    say = output().say
    for model in plan.models:
        say(f"{model.name}: {_line(model, check=check)}")
        if model.warning:
            warn(f"kserve-warmup: {model.name}: {model.warning}")
    for line in plan.skipped:
        say(line)


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


def _print_diff(plan: RepositoryPlan) -> None:
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
