"""How often has each block to run? Asked of a disposable tritonserver that runs copies of the models.

A block's count is what the model's compute needs: ``model_warmup`` passes the front ends by. Each round starts the
model in a fresh process, with fresh compilation caches, and times every call of every block from the server's own log.
A judge says how many calls tell when a block is steady; in hindsight the calls up to the last dear one are those that
were needed. A block that fails, hangs or crashes the server is left out, and the round starts anew without it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import Latencies, Target, measure, warm_client
from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import from_raw
from kserve_warmup.samples.sample import Sample
from kserve_warmup.sequence_latency import sequence_ms
from kserve_warmup.transports.model_kind import read_kind
from kserve_warmup.transports.sequences import Sequences
from kserve_warmup.triton import warmup_files as files
from kserve_warmup.triton.blocks import Block
from kserve_warmup.triton.counts import Cost
from kserve_warmup.triton.disposable import calls, copies, durations, started
from kserve_warmup.triton.plan import ModelPlan, Options
from kserve_warmup.triton.prove import Proof, prove
from kserve_warmup.triton.repository import apply_all, plan_repository, plan_repository_removal
from kserve_warmup.triton.rules import STRING
from kserve_warmup.triton.search import BlockResult, Search, limited

MEASURED = 12
"""Requests that measure a start from outside, cold and warm."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ModelResult:
    """What was found of one model.

    ``problem`` says why it is left as it was. ``proofs`` are what the statistics of the last start proved, ``cold`` and
    ``warm`` requests to a fresh server without and with the warm-up, all of them ``probe``; ``note`` says why they are
    missing.
    """

    model: str
    blocks: tuple[BlockResult, ...] = ()
    problem: str | None = None
    proofs: tuple[Proof, ...] = ()
    cold: Latencies | None = None
    warm: Latencies | None = None
    note: str | None = None
    probe: Sample | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Return the count of each block that is kept, by its name."""
        return {b.name: b.count for b in self.blocks if b.count is not None}

    @property
    def costs(self) -> dict[str, Cost]:
        """Return what each block that is kept costs, by its name, as far as it was measured."""
        return {b.name: b.cost for b in self.blocks if b.count is not None and b.cost is not None}

    @property
    def whole(self) -> bool:
        """Return whether nothing is left out but what the budget does not reach."""
        return self.problem is None and all(b.count is not None or b.cost is not None for b in self.blocks)

    def seen(self, warm: Latencies | str | None, cold: Latencies | str | None) -> ModelResult:
        """Return the result with what was measured from outside, or with a note when some of it was not."""
        if isinstance(cold, str) or isinstance(warm, str):
            return replace(self, note=cold if isinstance(cold, str) else str(warm))
        return replace(self, cold=cold, warm=warm)


def calibrate(
    repository: Path, samples: Path, models: Sequence[str], options: Options, tell: Tell, *, find: Find | None = None
) -> list[ModelResult]:
    """Find how often each block of each model has to run; nothing in ``repository`` is written.

    Args:
        repository: The model repository.
        samples: A sample set, or a folder of one set per model name.
        models: The models; all that have samples when empty.
        options: As for :func:`plan_repository`; its count is not used, and its ``max_seconds`` cuts what is found.
        tell: Hears in a line what begins.
        find: Finds it for one model; on a disposable tritonserver when left out.

    Raises:
        TritonConfigError: A model cannot be warmed as asked.
        WarmupError: There is no tritonserver on this machine.
    """
    plain = replace(options, counts={}, keep=False, max_seconds=None)
    names = [plan.name for plan in plan_repository(repository, samples, models, plain).models]
    results = []
    for name in names:
        with copies(repository, [name]) as copy:
            results.append((find or _calibrate)(Bench(copy, samples, name, plain, options.max_seconds, tell)))
    return results


@dataclass(frozen=True)
class Bench:
    """A copy of one model, which is given other counts again and again; ``max_seconds`` cuts what is found."""

    copy: Path
    samples: Path
    name: str
    options: Options
    max_seconds: float | None
    tell: Tell

    def fresh(self) -> ModelPlan:
        """Write all blocks anew."""
        self.clear()
        return self.install()

    def rounds(self, search: Search) -> Iterator[dict[str, int]]:
        """Yield how often each block runs in the next start, for as long as the search asks for one."""
        while counts := search.counts():
            self.tell(f"{self.name}: {len(counts)} blocks, up to {max(counts.values())} calls each")
            yield counts

    def found(self, search: Search) -> ModelResult:
        """Return what the search has found, within the budget."""
        result = ModelResult(self.name, limited(search.results(), self.max_seconds))
        return result if result.counts else replace(result, problem="none of its blocks runs")

    def install(self, counts: Mapping[str, int] | None = None) -> ModelPlan:
        """Write the blocks that have a count, or all of them."""
        options = self.options if counts is None else replace(self.options, counts={self.name: counts})
        (plan,) = plan_repository(self.copy, self.samples, [self.name], options).models
        apply_all([plan])
        return plan

    def request(self, plan: ModelPlan, block: Block) -> Sample | None:
        """Return a request like a block's: of a sequence, a step, without what its batcher adds."""
        if plan.model is None:
            return None
        batching, tensors = plan.model.max_batch_size > 0, []
        controls = {control.name for control in plan.model.controls}
        for given in (one for one in block.inputs if one.name not in controls):
            raw = (plan.folder / files.WARMUP / given.file).read_bytes()
            datatype = "BYTES" if given.data_type == STRING else given.data_type.removeprefix("TYPE_")
            shape = (block.batch_size, *given.dims) if batching else given.dims
            tensors.append(from_raw(given.name, datatype, shape, raw * (block.batch_size if batching else 1)))
        body, headers = encode("v2-binary", tensors)
        return request("v2-binary", body, headers=headers)

    def clear(self) -> None:
        """Take all blocks away."""
        apply_all(plan_repository_removal(self.copy, [self.name]).changed)


Find = Callable[[Bench], ModelResult]


def _calibrate(bench: Bench) -> ModelResult:
    name, plan = bench.name, bench.fresh()
    probe = bench.request(plan, plan.blocks[0])
    bench.clear()
    bench.tell(f"{name}: cold start")
    with started(bench.copy, name) as (server, problem):
        if problem is not None:
            return ModelResult(name, problem=f"it does not load without any warm-up either: {problem}")
        cold = measured(server.http_url, server.grpc_url, name, probe)
    search = Search(plan.blocks)
    for counts in bench.rounds(search):
        bench.install(counts)
        with started(bench.copy, name) as (server, problem):
            pass
        made = calls(server.log, name)
        if problem is not None:
            block = made[-1].block if made else ""
            if not search.leave_out(block, problem):
                where = f"its block {block!r}, not one of ours: " if block else ""
                return ModelResult(name, search.results(), problem=where + problem)
        elif not search.learn(durations(made)):
            break
    found = bench.found(search)
    if found.problem:
        return found
    bench.tell(f"{name}: proof and measurement")
    bench.install(found.counts)
    with started(bench.copy, name) as (server, problem):
        if problem is not None:
            return replace(found, problem=f"it loaded before, and does not any more: {problem}")
        proofs = tuple(prove(bench.copy, server.http_url, [name], server.log))
        return replace(found, proofs=proofs).seen(measured(server.http_url, server.grpc_url, name, probe), cold)


def measured(url: str, grpc: str | None, model: str, probe: Sample | None) -> Latencies | str:
    """Return first and later latencies from outside, or in a line why there are none; of sequences, of what opens one.

    A decoupled model's requests go to ``grpc``.
    """
    if probe is None:
        return "not measured from outside: its configuration is not known"
    try:
        target = Target(url, model, kind=asyncio.run(read_kind([probe], model, url, grpc, {})), grpc=grpc)
        if not target.kind.sequence:
            return measure([probe], target, MEASURED)
        steps = Sequences([probe]).of(probe)
        warm_client(probe.protocol)
        opened = [sequence_ms(steps, [target] * len(steps))[0] for _ in range(MEASURED)]
        return Latencies(tuple(opened))
    except WarmupError as error:
        return f"not measured from outside: {error}"
