"""``kserve-warmup triton``: write model_warmup into the configurations of a Triton model repository."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from kserve_warmup.cli.calibration import TRIAL, calibrate_and_write
from kserve_warmup.cli.console import output
from kserve_warmup.cli.options import sizes
from kserve_warmup.cli.planned import print_diff, print_plan
from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.binding import MAX_MISFIT
from kserve_warmup.triton.blocks import MAX_BLOCKS
from kserve_warmup.triton.counts import EACH, FURTHER
from kserve_warmup.triton.declarations import Declarations
from kserve_warmup.triton.install import find_tritonserver
from kserve_warmup.triton.lock import locked
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.prove import prove
from kserve_warmup.triton.releases import Release
from kserve_warmup.triton.render import Templates
from kserve_warmup.triton.repository import RepositoryPlan, apply_all, plan_repository_removal, plan_without
from kserve_warmup.triton.trial import Trial, Without, is_possible, try_out


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
            metavar="URL",
            help="A server that runs the models: asked for its version and for inputs that config.pbtxt lacks; with "
            "--calibrate one in explicit mode, instead of a disposable one.",
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
    max_misfit: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of the traffic that may be left out because the model does not take it."
        ),
    ] = MAX_MISFIT,
    loaded_first: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL",
            help="A model that is loaded before those whose code calls it, in explicit mode; may be repeated.",
        ),
    ] = None,
    triton_version: Annotated[
        str | None,
        typer.Option(metavar="YY.MM", help="The newest Triton that will load the models. Default: any may."),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(help="A folder of Jinja2 templates to use before the package's own."),
    ] = None,
    prove_load: Annotated[
        bool | None,
        typer.Option(
            "--prove-load/--no-prove-load",
            help="First load a copy of the whole repository with the new blocks on a disposable tritonserver. "
            "Default: where one is found.",
        ),
    ] = None,
    create: Annotated[
        bool,
        typer.Option(
            "--create", help="Write a minimal config.pbtxt where there is none; without inputs, go by the samples."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write model_warmup blocks with real requests into config.pbtxt, and touch nothing else in it."""
    _one_job(
        check=check, diff=diff, remove=remove, prove_url=prove_url, calibrate=calibrate, server=server, count=count
    )
    if calibrate and loaded_first and server is None:
        msg = "--calibrate loads each model alone: for models that call others, name a --server that has those loaded"
        raise TritonConfigError(msg)
    if prove_load and (check or diff or remove or prove_url is not None):
        msg = "--prove-load tries what is then written: leave out --check, --diff, --remove and --prove"
        raise TritonConfigError(msg)
    models = model or []
    if prove_url is not None:
        _prove(repository, prove_url, models, as_json=as_json)
        return
    make: Callable[[Without], RepositoryPlan]
    if remove:
        make = lambda _: plan_repository_removal(repository, models)  # noqa: E731
    elif samples is None:
        msg = "--samples is missing: name the sample set that 'kserve-warmup sample' wrote"
        raise TritonConfigError(msg)
    else:
        declarations = Declarations(server, server is None and prove_load is not False and is_possible())
        options = Options(
            count,
            tuple(sorted(sizes(batch_sizes))),
            max_blocks,
            create,
            Templates(templates),
            keep=count is None,
            max_seconds=max_seconds,
            max_misfit=max_misfit,
            loaded_first=tuple(loaded_first or ()),
            release=Release.read(triton_version) if triton_version else declarations.release,
            declarations=declarations,
        )
        if calibrate:
            trial_wanted = _trial_wanted(remove=False, asked=prove_load)
            calibrate_and_write(
                repository, samples, models, options, server=server, trial=trial_wanted, as_json=as_json
            )
            return
        make = partial(plan_without, repository, samples, models, options)
    if diff:
        print_diff(make({}))
        return
    trial = Trial()
    if check:
        plan = make({})
    else:
        limit = max_misfit if _trial_wanted(remove=remove, asked=prove_load) else None
        plan, trial = _written(repository, make, limit, loaded_first or ())
    print_plan(plan, trial, check=check, as_json=as_json)
    if check and plan.changed:
        raise typer.Exit(1)


def _trial_wanted(*, remove: bool, asked: bool | None) -> bool:
    """Return whether what is written is first tried.

    Raises:
        WarmupError: That was asked for, and there is no tritonserver.
    """
    if asked:
        find_tritonserver()
    return not remove and asked is not False and is_possible()


def _written(
    repository: Path, make: Callable[[Without], RepositoryPlan], limit: float | None, loaded_first: Sequence[str]
) -> tuple[RepositoryPlan, Trial]:
    """Plan, try and write while no other generator does; return what was planned, and what the trial showed.

    ``limit`` is the share of the traffic that may fail in the trial; None leaves the trial out.
    """
    with locked(repository, _tell):
        plan, trial = make({}), Trial()
        if limit is not None and plan.changed:
            if sys.stderr.isatty():  # it takes as long as a start does
                _tell(TRIAL)
            plan, trial = try_out(repository, make, limit, loaded_first)
        apply_all(plan.changed)
    return plan, trial


def _tell(line: str) -> None:
    typer.echo(f"kserve-warmup: {line}", err=True)


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
    if server is not None and (remove or prove_url is not None):
        msg = "--server is asked when blocks are made; to prove what a server has run, use --prove URL"
        raise TritonConfigError(msg)
    if sum((check, diff, remove, prove_url is not None)) > 1 and not (
        remove and (check or diff) and not (check and diff)
    ):
        msg = "--check, --diff, --remove and --prove are different jobs: give one"
        raise TritonConfigError(msg)


def _prove(repository: Path, url: str, models: list[str], *, as_json: bool) -> None:
    proofs = prove(repository, url, models)
    if as_json:
        typer.echo(json.dumps([{"model": p.model, **p.facts()} for p in proofs], indent=2))
        return
    say = output().say
    for proof in proofs:
        say(f"{proof.model} {proof}")
