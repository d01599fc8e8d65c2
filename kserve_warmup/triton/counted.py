"""A model's blocks with their counts: as asked for, measured or by default, and within the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kserve_warmup.triton.blocks import Block, Choice
from kserve_warmup.triton.counts import Cost, default_counts, total, within
from kserve_warmup.triton.origin import comment
from kserve_warmup.triton.recorded import Counting
from kserve_warmup.triton.rules import Model


@dataclass(frozen=True)
class Counted:
    """The blocks that are kept, with their counts, and the comment that says where those came from."""

    choices: list[Choice]
    blocks: tuple[Block, ...]
    comment: str
    warning: str


def give_counts(model: Model, choices: Sequence[Choice], blocks: Sequence[Block], counting: Counting) -> Counted:
    """Return the blocks that get a count, with that count.

    Args:
        model: The model.
        choices: What each block was made of, the largest share of the traffic first.
        blocks: The blocks, in the same order; their own count is not looked at.
        counting: Where the counts come from, and the budget.

    Raises:
        TritonConfigError: No block is left.
    """
    rows = [_rows(model, choice) for choice in choices]
    costs = None
    if counting.costs is not None:
        costs = [counting.costs.get(b.name, Cost.of_rows(r)) for b, r in zip(blocks, rows, strict=True)]
    wanted, seconds = _wanted(model, blocks, rows, counting), counting.origin.max_seconds
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
