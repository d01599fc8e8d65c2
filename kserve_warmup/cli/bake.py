"""``kserve-warmup bake``: in ``docker build``, keep what a start compiles, and prove that the next one hits it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kserve_warmup.cli.console import notes, output
from kserve_warmup.cli.options import ModelName, OwnPath, Samples, ServerReady
from kserve_warmup.errors import WarmupError, WarmupFailedError

if TYPE_CHECKING:
    from kserve_warmup.caches.bake_result import BakedStart
    from kserve_warmup.gate.gate_plan import Plan
    from kserve_warmup.report import WarmupReport
    from kserve_warmup.samples import SampleSet
    from kserve_warmup.transports.endpoints import OwnPaths
    from kserve_warmup.verify.running import Running

BUDGET = "KSERVE_WARMUP_MAX_SECONDS"


def run(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE:CLASS | -- COMMAND...",
            help="The model as 'serve' takes it, or a command that starts a server; {http_port} and {grpc_port} are "
            "filled in.",
        ),
    ],
    *,
    samples: Samples,
    out: Annotated[Path, typer.Option(help="The folder to make.")] = Path("/opt/warm"),
    model: ModelName = None,
    path: OwnPath = None,
    ready: ServerReady = None,
    timeout: Annotated[
        float,
        typer.Option(help="Seconds that a start may take until it is ready. A warm-up has half of them, unless told."),
    ] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Keep compile caches and a profile for later starts, and prove that they are hit.

    The server is started three times in fresh processes: once with empty caches, twice with what that left. Nothing is
    written unless the proof holds. A server that does not warm itself is warmed as by a gate, and since it counts no
    hits, the proof is that it does not write its caches anew. 'with-caches' starts it with them.
    """
    from kserve_warmup.caches.bake import bake
    from kserve_warmup.caches.interpreter import python_of
    from kserve_warmup.samples.sets import open_sets
    from kserve_warmup.transports.endpoints import OwnPaths

    sets = open_sets(samples, model)
    command = _command(target, model or (sets[0].model if len(sets) == 1 else None))
    paths = OwnPaths(path, ready)
    paths.check_ready()
    server = _Server(command, samples.resolve(), sets, model, timeout, paths)
    result = bake(server.start, out.absolute(), samples, notes().say, python_of(command))
    if as_json:
        sys.stdout.write(result.to_json() + "\n")
        return
    for line in result.lines():
        output().say(line)


def _command(target: list[str], name: str | None) -> list[str]:
    if len(target) > 1:
        if not any("{http_port}" in part for part in target):
            raise WarmupError(f"it is not known where {target[0]} will listen: write {{http_port}} into the command")
        return target
    module, _, attribute = target[0].partition(":")
    if not (module and attribute):
        raise WarmupError(f"{target[0]!r} names no class: write MODULE:CLASS, or a command after --")
    own = [sys.executable, "-m", "kserve_warmup", "serve", target[0]]
    named = ["--model_name", name] if name else []
    return [*own, *named, "--http_port", "{http_port}", "--grpc_port", "{grpc_port}"]


@dataclass(frozen=True, slots=True)
class _Server:
    """What is started, and with what it is warmed; ``model`` as the option has it, ``timeout`` in seconds."""

    command: list[str]
    samples: Path
    sets: tuple[SampleSet, ...]
    model: str | None
    timeout: float
    paths: OwnPaths

    @property
    def budget(self) -> str | float:
        """Return the seconds of one model's warm-up: a build has time, and what was not reached is not kept."""
        return os.environ.get(BUDGET) or self.timeout / 2

    def start(self, variables: Mapping[str, str], folder: Path) -> BakedStart:
        """Run the server until all of its models are warm: it reports that itself, or is warmed from outside."""
        from kserve_warmup.caches.bake_result import start_of
        from kserve_warmup.latency import Target, wait_ready
        from kserve_warmup.report import WarmupReport
        from kserve_warmup.transports.endpoints import ready_path
        from kserve_warmup.verify.running import Command

        own = {"KSERVE_WARMUP_REPORT": str(folder / "report.json"), "KSERVE_WARMUP_ENABLED": "true"}
        own |= {"KSERVE_WARMUP_SAMPLES": str(self.samples), BUDGET: str(self.budget)}
        started = time.monotonic()
        with Command(self.command, env={**os.environ, **own, **variables}).start() as server:
            for one in self.sets:
                target = Target(str(server.http_url), one.model, {})
                wait_ready(
                    target,
                    "v2",
                    self.timeout,
                    server.alive,
                    self.paths.ready_for(one.model) or ready_path(one, one.model),
                )
            ready = time.monotonic()
            reports = [WarmupReport.from_json(file.read_text()) for file in sorted(folder.glob("report*.json"))]
            silent = {one.model for one in self.sets} - {report.model for report in reports}
            from_outside = self._warmed(server, silent) if silent else ()
            warm = time.monotonic()
        found = start_of([*reports, *from_outside], ready - started, outside=not reports)
        return found if reports else replace(found, warmup_seconds=warm - ready)

    def _warmed(self, server: Running, models: set[str]) -> tuple[WarmupReport, ...]:
        """Warm models that do not warm themselves, as a gate does."""
        from kserve_warmup.gate.once import warm_once

        try:
            return warm_once(self._plan(server, models))
        except WarmupFailedError as error:
            server.alive()
            raise WarmupFailedError(f"nothing was baked: {error}") from None

    def _plan(self, server: Running, models: set[str]) -> Plan:
        from kserve_warmup.gate.options import checked

        given: dict[str, Any] = {"enabled": True, "report": None, "on_failure": "fail", "on_missing_samples": "fail"}
        given |= {"max_seconds": self.budget, "path": self.paths.path, "ready": self.paths.ready}
        plan = checked(str(server.http_url), self.samples, model=self.model, grpc=server.grpc_address, **given)
        return replace(plan, sets=tuple(one for one in plan.sets if one.model in models))
