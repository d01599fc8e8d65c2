"""``kserve-warmup bake``: in ``docker build``, keep what a start compiles, and prove that the next one hits it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kserve_warmup.cli.console import notes, output
from kserve_warmup.cli.options import ModelName, Samples
from kserve_warmup.errors import WarmupError, WarmupFailedError

if TYPE_CHECKING:
    from kserve_warmup.caches.bake import BakedStart
    from kserve_warmup.samples import SampleSet


def run(
    target: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE:CLASS | -- COMMAND...",
            help="The model as 'serve' takes it, or a command that starts a server of WarmupModels; {http_port} and "
            "{grpc_port} are filled in.",
        ),
    ],
    *,
    samples: Samples,
    out: Annotated[Path, typer.Option(help="The folder to make.")] = Path("/opt/warm"),
    model: ModelName = None,
    timeout: Annotated[float, typer.Option(help="Seconds that a start may take until it is ready.")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Keep compile caches and a profile for later starts, and prove that they are hit.

    The server is started three times in fresh processes: once with empty caches, twice with what that left. Nothing is
    written unless the proof holds.
    """
    from kserve_warmup.caches.bake import bake
    from kserve_warmup.samples.sets import open_sets

    sets = open_sets(samples, model)
    command = _command(target, model or (sets[0].model if len(sets) == 1 else None))

    def start(variables: Mapping[str, str], folder: Path) -> BakedStart:
        return _start(command, sets, {**variables, "KSERVE_WARMUP_SAMPLES": str(samples.resolve())}, folder, timeout)

    result = bake(start, out.absolute(), samples, notes().say)
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


def _start(
    command: list[str], sets: tuple[SampleSet, ...], variables: Mapping[str, str], folder: Path, timeout: float
) -> BakedStart:
    """Run the server until all of its models are ready, and read what their warm-ups report."""
    from kserve_warmup.caches.bake import start_of
    from kserve_warmup.latency import Target, wait_ready
    from kserve_warmup.processes import ServerProcess, free_ports
    from kserve_warmup.report import WarmupReport
    from kserve_warmup.transports.endpoints import ready_path

    http, grpc = free_ports(2)
    filled = [part.replace("{http_port}", str(http)).replace("{grpc_port}", str(grpc)) for part in command]
    own = {"KSERVE_WARMUP_REPORT": str(folder / "report.json"), "KSERVE_WARMUP_ENABLED": "true"}
    with ServerProcess(filled, env={**os.environ, **own, **variables}, name="the server") as server:
        for one in sets:
            target = Target(f"http://127.0.0.1:{http}", one.model, {})
            wait_ready(target, "v2", timeout, server.alive, ready_path(one, one.model))
        seconds = time.monotonic() - server.started
    texts = [file.read_text() for file in sorted(folder.glob("report*.json"))]
    if not texts:
        raise WarmupFailedError(
            "the server wrote no warm-up report: bake needs a server of WarmupModels", server.last_words()
        )
    return start_of([WarmupReport.from_json(text) for text in texts], seconds)
