"""How often each block runs, and what that may cost: every instance runs every block at every load, before it is ready.

Where nothing was measured, a block runs twice: its first call pays what its shape costs, and its second what a runtime
compiles only once it has seen a shape. What the whole process pays once, the first block pays, which therefore runs
more often; its further calls never cost more than one call of every block. A call costs what its rows cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EACH = 2
"""Calls of a block."""

FURTHER = 8
"""Further calls of the first block, at most."""

ROW_SECONDS = 0.1
"""What a row is taken to cost when a budget of seconds has to be kept and no latency is known."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of a block's first call, and of a later one on average, on the slowest instance."""

    first: float
    later: float

    @classmethod
    def of_rows(cls, rows: int) -> Cost:
        """Return what is assumed of a block whose latency is not known."""
        return cls(rows * ROW_SECONDS, rows * ROW_SECONDS)

    def seconds(self, calls: int) -> float:
        """Return the seconds of so many calls."""
        return self.first + (calls - 1) * self.later if calls else 0.0


_ROUNDING = 1e-9


def default_counts(rows: Sequence[int]) -> list[int]:
    """Return how often each block runs when nothing is known but the rows of a call of each.

    The further calls of the first block are so few that the whole costs at most one and a half times what two calls of
    each block do, be a call's cost in its rows or in itself.
    """
    counts = [EACH] * len(rows)
    if rows:
        counts[0] += min(FURTHER, len(rows), sum(rows) // rows[0])
    return counts


def within(counts: Sequence[int], costs: Sequence[Cost], seconds: float) -> list[int]:
    """Return counts that cost no more than ``seconds``, but at least one call of the first block.

    First every block gets one call, in their order, then a second, then what it was to have: what the budget does not
    reach is the rarest traffic, whose count is then 0.
    """
    given, left = [0] * len(counts), seconds

    def give(block: int, calls: int) -> bool:
        nonlocal left
        while given[block] < calls:
            price = costs[block].later if given[block] else costs[block].first
            if price > left + _ROUNDING and any(given):
                return False
            given[block], left = given[block] + 1, left - price
        return True

    for block, count in enumerate(counts):
        if not give(block, min(1, count)):
            break
    for most in (EACH, max(counts, default=0)):
        for block, count in enumerate(counts):
            if given[block]:
                give(block, min(most, count))
    return given


def total(counts: Sequence[int], costs: Sequence[Cost]) -> float:
    """Return the seconds that an instance's blocks take."""
    return sum(cost.seconds(count) for count, cost in zip(counts, costs, strict=True))
