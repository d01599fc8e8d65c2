"""How often a block has to run, judged from the times of its calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import ceil, inf
from statistics import median

from kserve_warmup.steady import RECOMMENDED_MAX_CALLS, SteadyStateDetector
from kserve_warmup.triton.blocks import Block

FIRST_TRY = 64
"""Calls in the first round: the detector looks at 60 for the first time, and the very last call has no time."""

ROUNDS = 2
"""Fresh starts for each number of calls."""

GROWTH = 3
ROUND_SECONDS = 120.0
"""Once a block's calls would take longer than this it is not tried with more."""

SPARE = 1.25
"""A count is a quarter above what was needed, and at least ``LEAST_SPARE`` calls: another start may need one more."""
LEAST_SPARE = 2

DEAR = 2.0
"""Times the plateau: a single call above is taken for a compilation before the plateau, and for noise on it."""

WINDOW = 9
"""Calls in a running median."""


@dataclass(frozen=True, slots=True)
class BlockResult:
    """What was found of one block; ``count`` is None when it is left out, and ``problem`` says why."""

    name: str
    batch_size: int
    count: int | None
    steady: bool = False
    first_ms: float | None = None
    steady_ms: float | None = None
    problem: str | None = None


@dataclass
class Search:
    """The blocks of one model: what is settled, and what is still looked for.

    Each length is tried twice. A compilation comes at the same call in every fresh start, a hiccup of the machine does
    not, so of each call the quickest time counts.
    """

    blocks: Sequence[Block]
    found: dict[str, BlockResult] = field(default_factory=dict)
    tries: int = FIRST_TRY
    _rounds: int = 0
    _quickest: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return what to run next: what was found, and the number of tries for the rest."""
        known = {name: result.count for name, result in self.found.items()}
        # The block of a sequence says 1: repeating it would break the sequence.
        wanted = {b.name: known.get(b.name, 1 if b.count == 1 else self.tries) for b in self.blocks}
        return {name: count for name, count in wanted.items() if count is not None}

    def results(self) -> tuple[BlockResult, ...]:
        """Return what was found, in the blocks' order."""
        return tuple(self.found[b.name] for b in self.blocks if b.name in self.found)

    def leave_out(self, name: str, problem: str) -> bool:
        """Note that a block failed; return whether it is one of these and was not left out before."""
        block = next((b for b in self.blocks if b.name == name), None)
        if block is None or name not in self.counts():
            return False
        self.found[name] = BlockResult(name, block.batch_size, None, problem=problem)
        return True

    def learn(self, series: Mapping[str, Mapping[str, list[float]]]) -> bool:
        """Take the times of a round, by block and instance; return whether another round is needed."""
        self._rounds += 1
        for block, instances in series.items():
            for instance, calls in instances.items():
                own = self._quickest.setdefault(block, {})
                own[instance] = [min(pair) for pair in zip_longest(own.get(instance, []), calls, fillvalue=inf)]
        return self._rounds < ROUNDS or self._judge_all()

    def _judge_all(self) -> bool:
        looking = [b for b in self.blocks if b.name not in self.found]
        for block in looking:
            own = list(self._quickest.get(block.name, {}).values())
            longest = max((sum(calls) for calls in own), default=0.0)
            last = self.tries >= RECOMMENDED_MAX_CALLS or longest * GROWTH > ROUND_SECONDS
            if result := judge(block, own, last=last):
                self.found[block.name] = result
        self.tries, self._rounds = min(self.tries * GROWTH, RECOMMENDED_MAX_CALLS), 0
        return any(b.name not in self.found for b in looking)


def judge(block: Block, series: Sequence[list[float]], *, last: bool) -> BlockResult | None:
    """Return what a block's calls say, the slowest instance counting, or None when more calls have to tell.

    Args:
        block: The block; one of a sequence runs once, and its count stays.
        series: Seconds of its calls in order, for each instance.
        last: Whether there will be no more calls than these.
    """
    if block.count == 1:
        return BlockResult(block.name, block.batch_size, 1, steady=True)
    found = [settled(calls) for calls in series]
    first = max((calls[0] for calls in series), default=None)
    if found and all(f is not None for f in found):
        needed = max(f[0] for f in found if f)
        count = max(ceil(needed * SPARE), needed + LEAST_SPARE)
        plateau = median(f[1] for f in found if f)
        return BlockResult(block.name, block.batch_size, count, True, _ms(first), _ms(plateau))
    if not last:
        return None
    longest = max((len(calls) for calls in series), default=0)
    problem = f"not steady after {longest:,} calls"
    return BlockResult(block.name, block.batch_size, max(1, longest), False, _ms(first), problem=problem)


def settled(calls: Sequence[float]) -> tuple[int, float] | None:
    """Return how many calls were needed and the plateau in seconds, or None when there is none yet."""
    detector = SteadyStateDetector()
    verdict = next((n for n, seconds in enumerate(calls, 1) if detector.observe(seconds)), None)
    plateau = detector.steady_latency
    if verdict is None or plateau is None:
        return None
    flat = verdict * 2 // 5  # the detector has looked at the newest three fifths
    dear = [n for n, seconds in enumerate(calls[:flat], 1) if seconds > DEAR * plateau]
    windows = range(max(0, verdict - WINDOW + 1))
    slow = [n + 1 for n in windows if median(calls[n : n + WINDOW]) > (1 + detector.tolerance) * plateau]
    return max([*dear, *slow, 0]), plateau


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds
