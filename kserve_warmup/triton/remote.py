"""Calibration on a server that runs already, in explicit mode: on its GPU, with its backends.

Its log is out of reach, and a crash would be its owner's loss. So nothing is warmed there: each model is loaded cold,
by the load API and without a word written, and sent each block's request one at a time. The statistics tell what the
model's compute took each time. A block of batch size N hands its model N requests of one row in one call; here they are
one request of N rows, which every backend that gathers requests into a tensor makes of them too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.latency import Target, send
from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.http import addresses
from kserve_warmup.transports.model_kind import read_kind
from kserve_warmup.triton.asking import asked
from kserve_warmup.triton.calibrate import Bench, ModelResult, Tell, calibrate, measured
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.prove import prove
from kserve_warmup.triton.search import Search

LOAD_SECONDS = 600.0
UNLOAD_SECONDS = 60.0


@dataclass(frozen=True)
class Remote:
    """A tritonserver with ``--model-control-mode=explicit`` that loads its models from the repository at hand.

    What it refuses, or is not there to answer, is a ``WarmupFailedError``.
    """

    url: str

    @property
    def http(self) -> str:
        """Return the address with its scheme."""
        return (self.url if "://" in self.url else f"http://{self.url}").rstrip("/")

    @property
    def grpc(self) -> str | None:
        """Return where gRPC is spoken, as far as the address of HTTP tells."""
        return addresses(self.http, None)[1]

    def load(self, model: str, config: Mapping[str, Any] | None = None) -> None:
        """Load ``model`` anew, from disk or with another configuration than the one on disk."""
        self.unload(model)
        parameters = {} if config is None else {"parameters": {"config": json.dumps(config)}}
        self._ask("POST", f"/v2/repository/models/{url_name(model)}/load", parameters)

    def unload(self, model: str) -> None:
        """Unload ``model``, and wait until it is gone: a load before that would find it unchanged."""
        self._ask("POST", f"/v2/repository/models/{url_name(model)}/unload", {})
        deadline = time.monotonic() + UNLOAD_SECONDS
        while self._state(model) not in ("UNAVAILABLE", ""):
            if time.monotonic() > deadline:
                raise WarmupFailedError(f"model {model}: {self.url} did not unload it in {UNLOAD_SECONDS:.0f} s")
            time.sleep(0.05)

    def cold_config(self, model: str) -> dict[str, Any]:
        """Return the server's own configuration of a loaded model, without any warm-up."""
        config: dict[str, Any] = self._ask("GET", f"/v2/models/{url_name(model)}/config")
        config.pop("model_warmup", None)
        return config

    def compute_seconds(self, model: str) -> float:
        """Return the seconds that the model has computed since it was loaded."""
        stats = self._ask("GET", f"/v2/models/{url_name(model)}/stats")
        return sum(float(v["inference_stats"]["compute_infer"]["ns"]) for v in stats["model_stats"]) / 1e9

    def _state(self, model: str) -> str:
        index = self._ask("POST", "/v2/repository/index", {})
        return next((str(m.get("state", "")) for m in index if m["name"] == model), "")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        refused = f"{self.url} refuses {path}: {{why}}; it has to run in explicit mode"
        return asked(self.http, method, path, body, seconds=LOAD_SECONDS, refused=refused)


def calibrate_on(
    url: str, repository: Path, samples: Path, models: Sequence[str], *, options: Options, tell: Tell
) -> list[ModelResult]:
    """Find how often each block of each model has to run on the server at ``url``; nothing is written.

    In the end every model is loaded as it is on disk. Arguments and errors are those of
    :func:`kserve_warmup.triton.calibrate.calibrate`; besides:

    Raises:
        WarmupFailedError: The server is gone, or does not do as it is told.
    """

    def find(bench: Bench) -> ModelResult:
        with _restored(Remote(url), bench.name) as remote:
            return _search(remote, bench)

    return calibrate(repository, samples, models, options, tell, find=find)


def prove_on(url: str, repository: Path, result: ModelResult) -> ModelResult:
    """Load what was written, prove by the statistics that it ran, and measure it from outside."""
    Remote(url).load(result.model)
    proven = replace(result, proofs=tuple(prove(repository, url, [result.model])))
    return proven.seen(measured(Remote(url).http, Remote(url).grpc, result.model, result.probe), result.cold)


def _search(remote: Remote, bench: Bench) -> ModelResult:
    name, plan = bench.name, bench.fresh()
    made = {block.name: bench.request(plan, block) for block in plan.blocks}
    requests = {block: sample for block, sample in made.items() if sample is not None}
    if len(requests) < len(made) or (plan.model and plan.model.sequence):
        return ModelResult(name, problem="requests cannot stand for its sequences: calibrate it without --server")
    bench.tell(f"{name}: cold start on {remote.url}")
    remote.load(name)
    config = remote.cold_config(name)
    remote.load(name, config)
    probe = requests[plan.blocks[0].name]
    cold = measured(remote.http, remote.grpc, name, probe)
    kind = asyncio.run(read_kind([probe], name, remote.http, remote.grpc, {}))
    target = Target(remote.http, name, kind=kind, grpc=remote.grpc)
    if isinstance(cold, str):
        _require_alive(remote, name, plan.blocks[0].name, cold)
    search = Search(plan.blocks)
    for counts in bench.rounds(search):
        remote.load(name, config)
        series = {}
        for block, count in counts.items():
            seconds = _times(remote, target, requests[block], count)
            if isinstance(seconds, str):
                _require_alive(remote, name, block, seconds)
                search.leave_out(block, seconds)
            else:
                series[block] = {"": seconds}
        if not search.learn(series):
            break
    found = replace(bench.found(search), probe=probe)
    return found if found.problem else found.seen(None, cold)


def _times(remote: Remote, target: Target, sample: Sample, count: int) -> list[float] | str:
    """Send a request ``count`` times and return the seconds that the model computed, or why it does not."""
    seconds = []
    try:
        before = remote.compute_seconds(target.model)
        for _ in range(count):
            send(sample, target)
            after = remote.compute_seconds(target.model)
            seconds.append(after - before)
            before = after
    except WarmupFailedError as error:
        return str(error)
    return seconds


def _require_alive(remote: Remote, model: str, block: str, problem: str) -> None:
    try:
        remote.compute_seconds(model)
    except WarmupFailedError:
        msg = (
            f"model {model}: {remote.url} is gone after a request like block {block!r}; nothing was written: {problem}"
        )
        raise WarmupFailedError(msg) from None


@contextmanager
def _restored(remote: Remote, model: str) -> Iterator[Remote]:
    """Yield the server, and load the model as it is on disk in the end."""
    try:
        yield remote
    except BaseException:
        with suppress(WarmupFailedError):  # a server that is gone has nothing to restore
            remote.load(model)
        raise
    remote.load(model)
