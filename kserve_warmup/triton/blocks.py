"""Which warm-up blocks a model gets: recorded requests bound to its inputs, and batch sizes by share of traffic.

Each runs as often as was asked for, as was measured or by default, within the budget.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.strata import share
from kserve_warmup.triton.batch_sizes import sums
from kserve_warmup.triton.binding import bind
from kserve_warmup.triton.counts import Cost, default_counts, total, within
from kserve_warmup.triton.encode import BoundInput
from kserve_warmup.triton.recorded import Counting, comment
from kserve_warmup.triton.rules import Model, check_batch

MAX_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class Choice:
    """A block to be made: the first row of ``sample``'s request, ``batch_size`` times in one call.

    ``share`` is the part of the traffic (0 to 1) with these inputs and this batch size; 0 for a size that only Triton's
    batcher makes. ``per_shape`` is who does work anew for that size, where this alone is the reason for the block.
    """

    sample: Sample
    inputs: tuple[BoundInput, ...]
    batch_size: int
    share: float
    per_shape: str = ""

    @property
    def reason(self) -> str:
        """Say in words why there is this block."""
        if self.share:
            return f"{self.share:.1%} of the traffic"
        if self.per_shape:
            return f"a batch size that only the batcher makes; {self.per_shape} does part of its work anew for each"
        return "a batch size that the batcher aims at, or was asked for"


@dataclass(frozen=True, slots=True)
class BlockInput:
    """An input of a block: Triton type, dims without the batch, and the data file in the model's ``warmup`` folder."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    file: str
    size: int = field(compare=False)


@dataclass(frozen=True, slots=True)
class Block:
    """A ``model_warmup`` block, as the templates see it; ``share`` is in words, such as ``62.0 % of the traffic``."""

    name: str
    batch_size: int
    count: int
    inputs: tuple[BlockInput, ...]
    share: str


def choose(
    model: Model, samples: Iterable[Sample], *, batch_sizes: Sequence[int] = (), max_blocks: int = MAX_BLOCKS
) -> list[Choice]:
    """Return the blocks to make, those for the largest share of the traffic first.

    Args:
        model: The model's inputs and batching.
        samples: The samples that fit it, heaviest first.
        batch_sizes: Take these instead of the traffic's, the dynamic batcher's preferred ones and max_batch_size.
        max_blocks: No more blocks than this.

    Raises:
        TritonConfigError: An asked batch size is above what the model takes, or there is no block, which Triton would
            call a warm-up that is done.
    """
    for batch in batch_sizes:
        check_batch(model, batch, "--batch-sizes")
    alike: dict[tuple[BoundInput, ...], dict[int, list[Sample]]] = {}
    for sample in samples:
        sizes = alike.setdefault(_key(bind(model, sample)), {})
        sizes.setdefault(sample.batch if model.max_batch_size else 1, []).append(sample)
    seen = [c for sizes in alike.values() for c in _choices(model, sizes, batch_sizes or sizes)]
    batcher = () if batch_sizes else model.batcher_sizes
    made = [c for sizes in alike.values() for c in _choices(model, sizes, [n for n in batcher if n not in sizes])]
    if model.per_shape and not batch_sizes:
        made += [c for sizes in alike.values() for c in _each_shape(model, sizes)]
    seen.sort(key=lambda c: -c.share)
    if not seen:
        raise model.fail("its sample set is empty; record some requests")
    return (seen + made)[:max_blocks]


def _each_shape(model: Model, samples: Mapping[int, list[Sample]]) -> list[Choice]:
    """Return a choice of each size that the batcher makes of these requests and does not aim at, the smallest first."""
    new = [n for n in sums(samples, model.max_batch_size) if n not in samples and n not in model.batcher_sizes]
    return [replace(choice, per_shape=model.per_shape) for choice in _choices(model, samples, new)]


def _key(inputs: tuple[BoundInput, ...]) -> tuple[BoundInput, ...]:
    """Requests that differ in protocol only are the same to the model."""
    return tuple(BoundInput(i.name, "", i.data_type, i.dims) for i in inputs)


def _choices(model: Model, samples: Mapping[int, list[Sample]], sizes: Iterable[int]) -> list[Choice]:
    """Return a choice of each size: of what has the same inputs, by size, the heaviest that has it or of all."""
    heaviest = next(iter(samples.values()))
    found = []
    for size in dict.fromkeys(sizes):
        sample = samples.get(size, heaviest)[0]
        found.append(Choice(sample, bind(model, sample), size, share(samples.get(size, ()))))
    return found


def block_name(number: int, batch_size: int, inputs: Sequence[BlockInput]) -> str:
    """Return a name that is unique by its number and tells a reader of Triton's log what runs."""
    what = " ".join(f"{i.name}[{','.join(map(str, i.dims))}]" for i in inputs)
    return f"{number:02d} batch {batch_size} {what if len(what) < 80 else what[:77] + '...'}"  # noqa: PLR2004


@dataclass(frozen=True)
class Counted:
    """The blocks that are kept, with their counts, and the comment that says where those came from."""

    choices: list[Choice]
    blocks: tuple[Block, ...]
    comment: str
    warning: str


def give_counts(
    model: Model,
    choices: Sequence[Choice],
    blocks: Sequence[Block],
    counting: Counting,
    without: Collection[str] = (),
) -> Counted:
    """Return the blocks that get a count, with that count.

    Args:
        model: The model.
        choices: What each block was made of, the largest share of the traffic first.
        blocks: The blocks, in the same order; their own count is not looked at.
        counting: Where the counts come from, and the budget.
        without: Names of blocks that are left out.

    Raises:
        TritonConfigError: No block is left.
    """
    rows = [_rows(model, choice) for choice in choices]
    costs = None
    if counting.costs is not None:
        costs = [counting.costs.get(b.name, Cost.of_rows(r)) for b, r in zip(blocks, rows, strict=True)]
    given = zip(blocks, _wanted(model, blocks, rows, counting), strict=True)
    wanted = [0 if block.name in without else count for block, count in given]
    seconds = counting.origin.max_seconds
    assumed = costs or [Cost.of_rows(r) for r in rows]
    counts = wanted if seconds is None else within(wanted, assumed, seconds)
    kept = [n for n, count in enumerate(counts) if count]
    if not kept:
        raise model.fail("no block is left: none of them ran")
    left = tuple(replace(blocks[n], count=counts[n]) for n in kept)
    return Counted(
        [choices[n] for n in kept],
        left,
        comment(
            counting.origin,
            [counts[n] for n in kept],
            [rows[n] for n in kept],
            costs and [costs[n] for n in kept],
        ),
        "" if seconds is None else _budget_warning(seconds, choices, wanted, counts, total(counts, assumed)),
    )


def _budget_warning(
    limit: float, choices: Sequence[Choice], wanted: Sequence[int], counts: Sequence[int], took: float
) -> str:
    cut = [c.share for c, before, after in zip(choices, wanted, counts, strict=True) if before and not after]
    above = (
        f"--max-seconds {limit:g} is less than the one call that is left takes, {took:.3g} s"
        if took > limit + 1e-9
        else ""
    )
    less = f"--max-seconds {limit:g} leaves out {len(cut)} of {len(choices)} blocks, {sum(cut):.1%} of the traffic"
    return "; ".join(filter(None, (above, less if cut else "")))


def _wanted(model: Model, blocks: Sequence[Block], rows: Sequence[int], counting: Counting) -> list[int]:
    """Return how often each block is to run, whatever that costs; 0 leaves it out."""
    if counting.counts is not None:
        return [counting.counts.get(block.name, 0) for block in blocks]
    if model.sequence:
        return [1] * len(blocks)
    return default_counts(rows) if counting.origin.count is None else [counting.origin.count] * len(blocks)


def _rows(model: Model, choice: Choice) -> int:
    """Return the rows of a call; without batching they are in the shape, if requests have any."""
    if model.max_batch_size:
        return choice.batch_size
    return choice.sample.batch if choice.sample.signature.batched else 1
