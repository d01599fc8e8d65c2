"""Proof that warm-up ran: a server's statistics right after a load against what the blocks must have produced.

The statistics tell the sum of a model's instances. Where the server's log is at hand, each instance is proved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from kserve_warmup.errors import TritonConfigError, WarmupFailedError
from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig
from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.triton import pbtxt
from kserve_warmup.triton import warmup_files as files
from kserve_warmup.triton.asking import asked
from kserve_warmup.triton.instances import Instances, instances_in
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.repository import model_folders
from kserve_warmup.triton.rules import instances_of, is_ensemble

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Counts:
    """What one version of a model has executed: requests' rows, calls of the backend, and calls by batch size."""

    inferences: int
    executions: int
    batches: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        """Return the counts as a person reads them."""
        sizes = ", ".join(f"{calls} of batch {size}" for size, calls in self.batches)
        return f"{self.inferences} inferences in {self.executions} executions ({sizes or 'none'})"


@dataclass(frozen=True, slots=True)
class Proof:
    """A model version whose statistics are what its warm-up blocks must produce.

    ``instances`` is what each instance ran, None where the server's log is out of reach.
    """

    model: str
    version: str
    counts: Counts
    instances: Instances | None = None

    def __str__(self) -> str:
        """Return what was proved in words."""
        each = "" if self.instances is None else f": {self.instances}"
        return f"version {self.version}: warm-up ran as written, {self.counts}{each}"

    def facts(self) -> dict[str, str]:
        """Return the same for machines, without the model's name and the instances."""
        return {"version": self.version, "counts": str(self.counts)}


def expected(config: ModelConfig, instances: int) -> Counts:
    """Return what the ``model_warmup`` of a configuration produces at load: every block, on every instance.

    A block of batch size 0 is passed over, and a count of 0 means 1.
    """
    batches: dict[int, int] = {}
    for block in config.model_warmup:
        if block.batch_size:
            batches[block.batch_size] = batches.get(block.batch_size, 0) + max(1, block.count) * instances
    inferences = sum(size * calls for size, calls in batches.items())
    return Counts(inferences, sum(batches.values()), tuple(sorted(batches.items())))


def prove(repository: Path, url: str, models: Sequence[str], log: str | None = None) -> list[Proof]:
    """Compare a freshly loaded server with the repository that it loaded.

    Args:
        repository: The model repository.
        url: The server's HTTP address.
        models: The models to look at; all with a generated warm-up when empty.
        log: The server's log from its start, with ``--log-verbose=1``, which tells of each instance.

    Raises:
        WarmupFailedError: A model is not loaded, was loaded from another configuration, or its statistics differ.
        TritonConfigError: A named model has no warm-up at all.
    """
    proofs: list[Proof] = []
    for name, folder in model_folders(repository, models).items():
        text = files.config_text(folder)
        if text is None or not (models or pbtxt.own_span(text)):
            continue
        config = parse(text)
        if not config.model_warmup or is_ensemble(config):
            raise TritonConfigError(f"model {name}: it has no model_warmup to prove")
        proofs += _prove_model(url, name, config, log)
    if not proofs:
        raise TritonConfigError(f"no model of {repository} has a generated warm-up: run 'kserve-warmup triton' first")
    return proofs


def _prove_model(url: str, name: str, config: ModelConfig, log: str | None) -> list[Proof]:
    running = ModelConfig()
    told = _get(url, name, "config")
    json_format.ParseDict(told, running, ignore_unknown_fields=True)
    if list(running.model_warmup) != list(config.model_warmup):
        raise WarmupFailedError(
            f"model {name}: the server runs another model_warmup than config.pbtxt holds: reload it"
        )
    want = expected(running, instances_of(running))
    versions = _get(url, name, "stats")["model_stats"]
    ran = None if log is None else instances_in(log, name, told, len(versions))
    proofs = []
    for version in versions:
        got = _counts(version)
        if got != want:
            hint = (
                "requests came after the load" if got.inferences > want.inferences else "warm-up did not run as written"
            )
            where = f"model {name} version {version['version']}"
            raise WarmupFailedError(f"{where}: {got}, but its blocks make {want}: {hint}; prove right after a load")
        proofs.append(Proof(name, str(version["version"]), got, ran))
    if ran is not None and not ran.equal:
        raise WarmupFailedError(f"model {name}: its instances did not all run its blocks: {ran}")
    return proofs


def _get(url: str, model: str, what: str) -> dict[str, Any]:
    path = f"/v2/models/{url_name(model)}/{what}"
    refused = f"the server has no {what} of it ({{why}}): load it first"
    try:
        found: dict[str, Any] = asked(url, "GET", path, None, seconds=TIMEOUT, refused=refused)
    except WarmupFailedError as error:
        raise WarmupFailedError(f"model {model}: {error}") from None
    return found


def _counts(version: dict[str, Any]) -> Counts:
    sizes = tuple(sorted((b["batch_size"], b["compute_infer"]["count"]) for b in version.get("batch_stats", ())))
    return Counts(version.get("inference_count", 0), version.get("execution_count", 0), sizes)
