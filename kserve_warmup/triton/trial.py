"""A trial load of a whole repository, with its new blocks, on a disposable tritonserver and on copies.

A generated file must never keep a server from starting that started before. What the blocks' rules cannot know shows
here: a model whose code fails on a recorded request, calls a model that is not loaded yet, or takes the server down.
What does not load there without its blocks either, such as a model whose backend this machine lacks, proves nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kserve_warmup.errors import TritonConfigError, WarmupError, WarmupFailedError
from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.triton import pbtxt
from kserve_warmup.triton import warmup_files as files
from kserve_warmup.triton.asking import asked
from kserve_warmup.triton.disposable import calls, copies, wait
from kserve_warmup.triton.install import find_tritonserver
from kserve_warmup.triton.instances import Instances, instances_in
from kserve_warmup.triton.plan import ModelPlan
from kserve_warmup.triton.repository import RepositoryPlan, apply_all, model_folders
from kserve_warmup.triton.tritonserver import TritonServer

LOAD_SECONDS = 300.0
"""A load that is not done by then is ended, and proves nothing."""

ASK_SECONDS = 30.0
STOP_SECONDS = 2.0
"""Nothing that it has is worth waiting for, and while it loads it hears no SIGTERM."""

_OPTIONS = ("--exit-on-error=false", "--log-verbose=1")
_REASON = 200
"""Characters of a reason that are told."""

_PLAIN = re.compile(r"[\w.,:+@%=-]+")
"""Names that a shell takes for one word: Triton's Python backend writes a model's name into a command unquoted."""

_NO_MORE = "unloaded"
_NOT_LOADED = "Server not ready"
_HINT = (
    "a model whose code calls others needs them loaded first, one after the other in explicit mode (say "
    "--loaded-first MODEL), or the gate to warm it"
)


@dataclass(frozen=True)
class Trial:
    """What a trial load showed of the models that are to be written.

    Attributes:
        proved: what each instance of a model ran, by the names of those that loaded.
        unproved: why nothing can be said of the others.
    """

    proved: Mapping[str, Instances] = field(default_factory=dict)
    unproved: Mapping[str, str] = field(default_factory=dict)


class BlockFailedError(TritonConfigError):
    """A block keeps a model, or the server, from loading."""

    def __init__(self, message: str, model: str, block: str, problem: str) -> None:
        """Take the line, and what it is about."""
        super().__init__(message)
        self.model, self.block, self.problem = model, block, problem


def is_possible() -> bool:
    """Return whether there is a tritonserver on this machine."""
    try:
        find_tritonserver()
    except WarmupError:
        return False
    return True


Without = Mapping[str, Mapping[str, str]]
"""Blocks that are left out: for each model why, by their names."""


def try_out(
    repository: Path, make: Callable[[Without], RepositoryPlan], limit: float, loaded_first: Sequence[str] = ()
) -> tuple[RepositoryPlan, Trial]:
    """Plan, leaving out blocks that fail in a trial load, until the repository loads; nothing is written.

    A model may refuse what its configuration allows: such requests are as little a reason for a server that does not
    start as those that its configuration refuses.

    Args:
        repository: The model repository.
        make: Plans without some blocks.
        limit: The share of a model's traffic (0 to 1) that may be left out.
        loaded_first: As for :func:`prove_load`.

    Raises:
        TritonConfigError: More fails than may be left out, or it is no block that fails.
    """
    without: dict[str, dict[str, str]] = {}
    first = make(without)
    while True:
        plan = make(without) if without else first
        if not plan.changed:
            return plan, Trial()
        try:
            return plan, prove_load(repository, plan.changed, loaded_first)
        except BlockFailedError as error:
            whole = next(model for model in first.models if model.name == error.model)
            left = without.setdefault(error.model, {})
            left[error.block] = error.problem
            if whole.misfit + sum(whole.shares[block] for block in left) > limit or len(left) == len(whole.blocks):
                raise


def prove_load(repository: Path, plans: Sequence[ModelPlan], loaded_first: Sequence[str] = ()) -> Trial:
    """Load copies of a repository's models, the planned ones with their new blocks; nothing in it is written.

    Args:
        repository: The model repository.
        plans: What is to be written.
        loaded_first: Models that are loaded before all others, in explicit mode; none for a server that loads all.

    Raises:
        TritonConfigError: A model does not load, or the server not start, that does without the new blocks.
    """
    try:
        return _tried(repository, plans, loaded_first)
    except TritonConfigError:
        raise
    except WarmupError as error:  # a server that does not run here, a file that cannot be copied
        return Trial(unproved=dict.fromkeys([plan.name for plan in plans], str(error)))


def _tried(repository: Path, plans: Sequence[ModelPlan], loaded_first: Sequence[str]) -> Trial:
    names = sorted({*model_folders(repository, []), *(plan.name for plan in plans)})
    if odd := [name for name in names if not _PLAIN.fullmatch(name)]:
        raise WarmupError(f"model {odd[0]}: Triton hands its name to a shell, which would not take it for one word")
    with copies(repository, names) as copy:
        _write(plans, copy)
        warm = _load(copy, names, loaded_first)
        cold = None
        if warm.problem or warm.failed or warm.called - {*loaded_first}:
            _take_away(plans, copy)
            cold = _load(copy, names, loaded_first)
            _compare(plans, warm, cold, loaded_first)
    proved, unproved = {}, {}
    for plan in plans:
        why = cold and (cold.problem or cold.failed.get(plan.name))
        if why:
            unproved[plan.name] = f"without its blocks it does not load there either: {why[:_REASON]}"
        elif not (ran := warm.instances[plan.name]).equal:
            unproved[plan.name] = f"its instances did not all run its blocks: {ran}"
        else:
            proved[plan.name] = ran
    return Trial(proved, unproved)


@dataclass(frozen=True)
class Loaded:
    """How loading ended: for the server, and why for each model that failed; and what ran in the others.

    ``called`` are models that ran more than their own blocks, though nobody asked them: others' warm-up did.
    """

    problem: str | None
    failed: Mapping[str, str]
    log: str
    instances: Mapping[str, Instances] = field(default_factory=dict)
    called: frozenset[str] = frozenset()


def _load(copy: Path, names: Sequence[str], loaded_first: Sequence[str]) -> Loaded:
    arguments = [*_OPTIONS, "--model-control-mode=explicit"] if loaded_first else list(_OPTIONS)
    with TritonServer(copy, arguments, stop_seconds=STOP_SECONDS) as server:
        problem = wait(server, _in_time(server))
        failed: dict[str, str] = {}
        running: dict[str, tuple[dict[str, Any], int]] = {}
        executed: dict[str, int] = {}
        if problem is None:
            try:
                if loaded_first:
                    _load_in_turn(server, [*loaded_first, *(n for n in names if n not in loaded_first)])
                failed, versions = _states(server, names)
                running = {n: (_ask(server, "GET", f"models/{url_name(n)}/config"), v) for n, v in versions.items()}
                executed = {n: _executions(server, n) for n in versions}
            except WarmupFailedError as error:
                problem = wait(server, server.is_live) or str(error)
    log = server.log
    instances = {n: instances_in(log, n, *found) for n, found in running.items()}
    called = frozenset(n for n, ran in instances.items() if executed.get(n, 0) > ran.total)
    return Loaded(problem, failed, log, instances, called)


def _executions(server: TritonServer, name: str) -> int:
    versions = _ask(server, "GET", f"models/{url_name(name)}/stats")["model_stats"]
    return sum(int(version.get("execution_count", 0)) for version in versions)


def _in_time(server: TritonServer) -> Callable[[], bool]:
    """Return the question whether the server is live, which raises when it takes too long."""
    end = time.monotonic() + LOAD_SECONDS

    def live() -> bool:
        if time.monotonic() > end:
            raise WarmupError(f"it was still loading after {LOAD_SECONDS:.0f} s")
        return server.is_live()

    return live


def _load_in_turn(server: TritonServer, names: Sequence[str]) -> None:
    for name in names:
        path = f"/v2/repository/models/{url_name(name)}/load"
        try:
            asked(server.http_url, "POST", path, {}, seconds=LOAD_SECONDS, refused="{why}")
        except WarmupFailedError:
            if wait(server, server.is_live):
                raise
            # the model is refused, as the index will tell


def _states(server: TritonServer, names: Sequence[str]) -> tuple[dict[str, str], dict[str, int]]:
    """Return why models did not load, by name, and how many versions of the others did."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for entry in _ask(server, "POST", "repository/index", {}):
        found.setdefault(str(entry["name"]), []).append(entry)
    failed, versions = {}, {}
    for name, entries in found.items():
        ready = sum(e.get("state") == "READY" for e in entries)
        wrong = [e for e in entries if e.get("state") != "READY" and e.get("reason") != _NO_MORE]
        if wrong or not ready:
            reason = next((str(e["reason"]) for e in wrong if e.get("reason")), "it is not loaded")
            failed[name] = reason.splitlines()[0]
        else:
            versions[name] = ready
    return failed, versions


def _ask(server: TritonServer, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
    return asked(server.http_url, method, f"/v2/{path}", body, seconds=ASK_SECONDS, refused="it refuses {why}")


def _compare(plans: Sequence[ModelPlan], warm: Loaded, cold: Loaded, loaded_first: Sequence[str]) -> None:
    """Refuse what loads without the new blocks only.

    Raises:
        TritonConfigError: There is such a model, or the whole server is.
    """
    if cold.problem:
        return
    way_out = "nothing was written; --no-prove-load writes it untried"
    if warm.problem:
        made = [(call, plan.name) for plan in plans for call in calls(warm.log, plan.name)]
        last, name = max(made, key=lambda found: found[0].at, default=(None, ""))
        where = f"model {name}: instance {last.instance}, block {last.block!r}: " if last else ""
        line = f"{where}{warm.problem} in a trial load of the repository, and not without the new blocks; {_HINT}"
        if last is None:
            raise TritonConfigError(f"{line}; {way_out}")
        raise BlockFailedError(f"{line}; {way_out}", name, last.block, warm.problem)
    for name in sorted(warm.failed.keys() - cold.failed.keys()):
        why = warm.failed[name]
        line = (
            f"model {name}: it does not load with the new blocks, and does without, in a trial load of the repository: "
            f"{why[:_REASON].strip('; ')}; {_HINT + '; ' if _NOT_LOADED in why else ''}{way_out}"
        )
        blocks = (block.name for plan in plans if plan.name == name for block in plan.blocks)
        block = next((block for block in blocks if (said := f"warmup sample '{block}': ") in why), None)
        if block is None:
            raise TritonConfigError(line)
        raise BlockFailedError(line, name, block, why.partition(said)[2][:_REASON].strip("; "))

    for name in sorted(warm.called - cold.called - {*loaded_first}):
        raise TritonConfigError(
            f"model {name}: the warm-up of another model calls it in a trial load of the repository, where it was "
            f"loaded in time by chance; {_HINT}; {way_out}"
        )


def _write(plans: Sequence[ModelPlan], copy: Path) -> None:
    apply_all([replace(plan, folder=copy / plan.name) for plan in plans])


def _take_away(plans: Sequence[ModelPlan], copy: Path) -> None:
    """Leave each model as it was, or would be without any generated block."""
    for plan in plans:
        config = copy / plan.name / files.CONFIG
        if plan.before is None:
            config.unlink()
        else:
            config.write_bytes(pbtxt.remove(plan.before))
