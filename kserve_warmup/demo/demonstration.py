"""The demo's order of events: record, sample, then each server cold and warm, a fresh process each time."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from kserve_warmup.demo.demo_result import SCENARIOS, SERVERS, Cell, DemoResult, ModelFacts, Scenario, Start
from kserve_warmup.demo.demo_result import Server as ServerName
from kserve_warmup.demo.demo_servers import Server, kserve_server, triton_server
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.needs import check_needs, has_torch
from kserve_warmup.demo.recordings import ALL_MODELS, MODELS, TORCH_MODELS, Recording, record
from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import PACE_SECONDS, Target, measure, time_to_ready, wait_ready
from kserve_warmup.samples.sample import Protocol
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.strata import by_stratum
from kserve_warmup.sampling.reader import sample_traffic
from kserve_warmup.triton.install import ENVIRONMENT, TritonInstall, find_tritonserver
from kserve_warmup.triton.plan import Options as TritonOptions
from kserve_warmup.triton.repository import apply_all, plan_repository, plan_repository_removal

PROTOCOL: Protocol = "v2"
"""What the measured requests are written in: the protocol that both servers and most clients speak."""

NO_TRITON = (
    f"No tritonserver on PATH: name an environment of its own with nvidia-pytriton and 'numpy<2' in {ENVIRONMENT}"
)

CACHES = shutil.ignore_patterns("__pycache__")

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What to run.

    ``repository`` is only read: the models are copied to ``out``. ``starts`` is the number of fresh processes a cell,
    ``requests`` how many each is sent.
    """

    repository: Path
    out: Path
    models: tuple[str, ...] = tuple(MODELS)
    starts: int = 1
    requests: int = 10

    @property
    def copy(self) -> Path:
        """Return the repository of the copies that are run."""
        return self.out / "models"

    def servers(self, model: str) -> tuple[ServerName, ...]:
        """Return the servers that can run a model here: Triton runs torch's only with torch in its environment."""
        triton = _triton()
        return SERVERS if triton and (model in MODELS or has_torch(triton.python)) else ("kserve",)

    @property
    def steps(self) -> int:
        """Return how often :func:`run` tells of a step."""
        return 1 + sum(1 + len(self.servers(model)) * len(SCENARIOS) * self.starts for model in self.models)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model's recording, its sample set, and its Triton repositories without and with warm-up."""

    recording: Recording
    samples: SampleSet
    folder: Path

    def triton(self, scenario: Scenario) -> Path:
        """Return the Triton repository of a scenario."""
        return self.folder / f"triton-{scenario}"


def run(options: Options, tell: Tell) -> DemoResult:
    """Run the demo and return what it measured; ``tell`` hears of each step as it begins.

    Raises:
        WarmupError: something that the demo needs is missing, or a name or number is wrong.
        WarmupFailedError: a server ended or failed to answer.
    """
    begin = time.monotonic()
    check(options)
    _copy(options)
    tell("recording requests")
    recordings = _record(options)
    prepared, cells = {}, []
    for model in options.models:
        tell(f"{model}: sampling, generating Triton warm-up")
        prepared[model] = _prepare(options, model, recordings[model])
        for server in options.servers(model):
            for scenario in SCENARIOS:
                starts = []
                for _ in range(options.starts):
                    tell(f"{model}: {server}, {scenario}")
                    starts.append(_start(options, model, prepared[model], server, scenario))
                cells.append(Cell(model, server, scenario, PROTOCOL, tuple(starts)))
    return DemoResult(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        versions=_versions(),
        pace_seconds=PACE_SECONDS,
        seconds=time.monotonic() - begin,
        models=tuple(_facts(model, p) for model, p in prepared.items()),
        cells=tuple(cells),
    )


def check(options: Options) -> None:
    """Find out what is missing before anything runs.

    Raises:
        WarmupError: a model is unknown, a package or the Triton server is missing, or there is no repository.
    """
    if unknown := [name for name in options.models if name not in ALL_MODELS]:
        raise WarmupError(f"unknown demo model {unknown[0]!r}: use {', '.join(ALL_MODELS)}")
    if not options.models or options.starts < 1 or options.requests < 1:
        msg = "the demo needs at least one model, one start and one request"
        raise WarmupError(msg)
    folders = [options.repository / name for name in options.models]
    if missing := [folder for folder in folders if not (folder / "config.pbtxt").is_file()]:
        raise WarmupError(f"{missing[0]} is no Triton model: leave --repository out, or name the demo's")
    check_needs(options.models)
    _triton()


def left_out(options: Options) -> str | None:
    """Return one line on what is not measured and why, or None when everything is."""
    models = [model for model in options.models if len(options.servers(model)) < len(SERVERS)]
    if not models:
        return None
    triton = _triton()
    why = f"{triton.python or 'its python3'} has no torch: run `make torch-env`" if triton else NO_TRITON
    return f"Not on Triton: {', '.join(models)}. {why}."


def _triton() -> TritonInstall | None:
    """Return the tritonserver to measure with, or None where there is none and none was named.

    Raises:
        WarmupError: one is named, and is not there.
    """
    try:
        return find_tritonserver()
    except WarmupError:
        if os.environ.get(ENVIRONMENT) or os.environ.get("TRITONSERVER"):
            raise
        return None


def _copy(options: Options) -> None:
    """Copy the models to where weights may be put beside them; those of an earlier run stay."""
    _check_own(options.copy, ALL_MODELS)
    for model in options.models:
        shutil.copytree(options.repository / model, options.copy / model, dirs_exist_ok=True, ignore=CACHES)
    fetch(options.copy)


def _record(options: Options) -> dict[str, Recording]:
    recordings = {}
    for models in ([m for m in options.models if m in known] for known in (MODELS, TORCH_MODELS)):
        if not models:
            continue
        with kserve_server(options.copy, models) as server:
            for model in models:
                wait_ready(Target(server.http_url, model), alive=server.alive)
                recordings[model] = record(ALL_MODELS[model], server, options.out / model / "traffic.jsonl")
    return recordings


def _prepare(options: Options, model: str, recording: Recording) -> Prepared:
    folder = options.out / model
    samples = replace(sample_traffic([recording.traffic], model)[0], source="the demo's clients")
    samples.save(folder / "samples")
    prepared = Prepared(recording, samples, folder)
    for scenario in SCENARIOS:
        repository = prepared.triton(scenario)
        _clear(repository, model)
        shutil.copytree(options.copy / model, repository / model, ignore=CACHES)
    apply_all(plan_repository_removal(prepared.triton("cold"), [model]).changed)
    plan = plan_repository(prepared.triton("warm"), folder / "samples", [model], TritonOptions())
    apply_all(plan.changed)
    return prepared


def _clear(repository: Path, model: str) -> None:
    """Remove an earlier run's copy, and nothing that may be somebody's own."""
    _check_own(repository, {model})
    shutil.rmtree(repository, ignore_errors=True)


def _check_own(repository: Path, models: Collection[str]) -> None:
    """Raise when a folder that is written to holds anything but the demo's own copies of these models."""
    if repository.is_symlink() or (repository.exists() and {f.name for f in repository.iterdir()} - set(models)):
        raise WarmupError(f"{repository} holds something else than the demo's {', '.join(models)}: give another --out")


def _start(options: Options, model: str, prepared: Prepared, server: ServerName, scenario: Scenario) -> Start:
    samples = prepared.folder / "samples" if scenario == "warm" else None
    running: contextlib.AbstractContextManager[Server] = (
        kserve_server(options.copy, [model], samples, warmup_seconds=ALL_MODELS[model].warmup_seconds)
        if server == "kserve"
        else triton_server(prepared.triton(scenario))
    )
    with running as process:
        target = Target(process.http_url, model)
        ready = time_to_ready(target, process.started, protocol=PROTOCOL, alive=process.alive)
        latencies = measure(prepared.recording.measured, target, options.requests)
        return Start(latencies.latencies_ms, ready.seconds, process.report())


def _facts(model: str, prepared: Prepared) -> ModelFacts:
    spec, samples = ALL_MODELS[model], prepared.samples
    strata = len(by_stratum(samples))
    requests = prepared.recording.requests
    return ModelFacts(model, spec.description, spec.inputs, requests, len(samples), strata, samples.coverage)


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("kserve-warmup", "kserve", "jax", "numba", "scikit-learn", "onnxruntime", "torch"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
