"""How often a block has to run, judged from the times of its calls.

The judge of KServe's warm-up, :class:`~kserve_warmup.steady_judge.SteadyStateJudge`, says how many calls of each block
tell whether it is steady. It cannot ask one by one here: a warm-up runs one block after the other, in a fresh process.
So it is told the calls that there are, and where they end the last ones once more: what it then asks for is what the
next start runs. In hindsight the calls up to the last dear one are those that were needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from math import inf, sqrt
from statistics import median

from kserve_warmup.settling import Settling, common_noise, settle
from kserve_warmup.steady import RECOMMENDED_MAX_CALLS
from kserve_warmup.steady_judge import SteadyStateJudge
from kserve_warmup.triton.blocks import Block
from kserve_warmup.triton.counts import EACH, Cost, within

CAP = 40
"""Calls of a block that the judge may ask for; only what is not steady then gets more."""

LEAST = 6
"""Calls of a block before it is judged: two that compile would be taken for the level, and four tell of no fall."""

SCOUT, SCOUT_SECONDS = 32, 10.0
"""Calls that the first block makes in any case, and seconds: what comes late there is looked for in the others too."""

GROWTH = 2
ROUND_SECONDS = 120.0
"""Once a start would take longer than this, nothing is tried with more calls."""

ROUNDS = 10
"""Starts, at most."""

TOLERANCE = 0.1

BESIDE = 0.0005
"""Seconds that a request takes beside the model's compute: what is small against that, such as noise, tells nothing."""

QUIET = 4
"""Calls after a late dear one that are looked at when it is tried once more."""

WINDOW = 5
"""Calls that tell whether a level is reached."""

NOISY = 3.0
"""Standard errors that a median of a window may lie above the level."""

Series = Mapping[str, Mapping[str, Sequence[float]]]


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
    cost: Cost | None = None


@dataclass
class Search:
    """The blocks of one model: what is settled, and how often each runs next.

    A compilation comes at the same call in every fresh start, a hiccup of the machine does not: of each call the
    quickest time counts, and a call that looks like a late compilation is made in two starts.
    """

    blocks: Sequence[Block]
    found: dict[str, BlockResult] = field(default_factory=dict)
    _tries: dict[str, int] = field(default_factory=dict)
    _rounds: int = 0
    _lengths: dict[str, list[int]] = field(default_factory=dict)
    _quickest: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return how often each block runs in the next start; the last one once more, since its last call has no time.

        The block of a sequence runs once: repeating it would break the sequence.
        """
        left_out = {name for name, result in self.found.items() if result.count is None}
        counts = {b.name: self._tries.get(b.name, EACH) for b in self.blocks if b.name not in left_out}
        if counts:
            counts[list(counts)[-1]] += 1
        return {name: 1 if name in self._once else count for name, count in counts.items()}

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

    def learn(self, series: Series) -> bool:
        """Take the times of a start, by block and instance; return whether another one is needed."""
        self._rounds += 1
        longest = max((sum(map(sum, of.values())) for of in _by_instance(series).values()), default=0.0)
        for block, instances in series.items():
            self._lengths.setdefault(block, []).append(min(map(len, instances.values()), default=0))
            for instance, calls in instances.items():
                own = self._quickest.setdefault(block, {})
                own[instance] = [min(pair) for pair in zip_longest(own.get(instance, []), calls, fillvalue=inf)]
        looking = [b for b in self.blocks if b.name not in self._once and b.name in self.counts()]
        known = {b.name: found for b in looking if (found := self._quickest.get(b.name))}
        judged = judge(looking, known)
        self._tries = self._more(known, judged, longest) if self._rounds < ROUNDS else {}
        if self._tries:
            return True
        self.found |= judged
        once = [b for b in self.blocks if b.name in self._once and b.name in self.counts()]
        self.found |= {b.name: BlockResult(b.name, b.batch_size, 1, steady=True) for b in once}
        return False

    def _more(self, known: Series, judged: Mapping[str, BlockResult], longest: float) -> dict[str, int]:
        """Return how often each block runs in the next start, nothing if all is known.

        What moves runs as often once more, and if that is no noise twice as often. A late dear call is made once more,
        and then by the other blocks too.
        """
        if self._rounds == 1:
            asked = {name: max(LEAST, calls) for name, calls in questions(known, CAP).items()}
            first = next(iter(known), None)
            slowest = max((calls[-1] for calls in known[first].values()), default=inf) if first else inf
            if first and slowest * SCOUT <= SCOUT_SECONDS:
                asked[first] = max(asked[first], SCOUT)
            return asked
        lengths = {name: max(self._lengths[name]) for name in known}
        late = {name: (judged[name].count or 1) - 1 for name in known if judged[name].steady}
        doubted = {n: call for n, call in late.items() if call > EACH and self._made(n, call) == 1}
        depth = max((call for name, call in late.items() if call > EACH and name not in doubted), default=0)
        wanted = {name: call + QUIET for name, call in doubted.items()}
        wanted |= {name: depth + QUIET for name in known if lengths[name] <= depth}
        if longest * GROWTH <= ROUND_SECONDS:
            moving = [name for name in known if not judged[name].steady and lengths[name] < RECOMMENDED_MAX_CALLS]
            for name in moving:
                once = self._made(name, lengths[name] * 3 // 4) == 1  # the last block's length is not always the same
                again = lengths[name] if once else lengths[name] * GROWTH
                wanted[name] = min(again, RECOMMENDED_MAX_CALLS)
        return dict.fromkeys(known, EACH) | wanted if wanted else {}

    def _made(self, name: str, call: int) -> int:
        """Return in how many starts a block made its call of this number."""
        return sum(length >= call for length in self._lengths[name])

    @property
    def _once(self) -> set[str]:
        return {b.name for b in self.blocks if b.count == 1}


def questions(series: Series, cap: int) -> dict[str, int]:
    """Return how many calls of each block the judge asks for, if those beyond ``series`` are like the last ones."""
    asked = dict.fromkeys(series, 0)
    for blocks in _by_instance(series).values():
        steadiness = SteadyStateJudge(list(blocks), TOLERANCE, max_calls=cap)
        made = dict.fromkeys(blocks, 0)
        while (name := steadiness.next()) is not None:
            calls, number = blocks[name], made[name]
            seconds = calls[number] if number < len(calls) else median(calls[len(calls) // 2 :])
            steadiness.observe(name, BESIDE + seconds)
            made[name] += 1
        asked |= {name: max(asked[name], number) for name, number in made.items()}
    return asked


def judge(blocks: Sequence[Block], series: Series) -> dict[str, BlockResult]:
    """Return what the calls say of each block, the slowest instance counting: one call more than were needed."""
    requests = {name: {i: [BESIDE + call for call in calls] for i, calls in of.items()} for name, of in series.items()}
    noise = {instance: common_noise(calls.values()) for instance, calls in _by_instance(requests).items()}
    found = {}
    for block in blocks:
        own = series.get(block.name, {})
        if not own:
            problem = "its calls have no times in the server's log"
            found[block.name] = BlockResult(block.name, block.batch_size, EACH, problem=problem)
            continue
        took = requests[block.name]
        settled = {instance: settle(calls, noise[instance], TOLERANCE) for instance, calls in took.items()}
        moving = [instance for instance, one in settled.items() if _moves(one)]
        longest = max(len(calls) for calls in own.values())
        needed = max(needed_calls(took[i], one, noise[i]) for i, one in settled.items())
        count = longest if moving else max(EACH, needed + 1)
        slowest = max(own.values(), key=lambda calls: sum(calls[:count]))
        level = max(0.0, *(one.level - BESIDE for one in settled.values()))
        found[block.name] = BlockResult(
            block.name,
            block.batch_size,
            count,
            not moving,
            1000 * max(calls[0] for calls in own.values()),
            None if moving else 1000 * level,
            f"not steady after {longest:,} calls" if moving else None,
            Cost(slowest[0], sum((list(slowest[1:count]) + [level] * count)[: count - 1]) / max(1, count - 1)),
        )
    return found


def _moves(settled: Settling) -> bool:
    return not settled.quiet and not (settled.falls and abs(settled.fall) <= TOLERANCE / 2)


def needed_calls(calls: Sequence[float], settled: Settling, noise: float) -> int:
    """Return the calls before the first from which on a window of calls is at the level."""
    spread = NOISY * noise / sqrt(WINDOW)
    limit = settled.level * (1 + max(TOLERANCE, spread))
    starts = range(settled.one_offs, len(calls))
    return next((n for n in starts if median(calls[n : n + WINDOW]) <= limit), len(calls))


def limited(results: Sequence[BlockResult], max_seconds: float | None) -> tuple[BlockResult, ...]:
    """Return results whose counts take no more than ``max_seconds``; what that does not reach is left out."""
    kept = [r for r in results if r.count is not None]
    if max_seconds is None or not kept:
        return tuple(results)
    counts = within([r.count or 0 for r in kept], [r.cost or Cost(0.0, 0.0) for r in kept], max_seconds)
    cut = {r.name: count for r, count in zip(kept, counts, strict=True)}
    problem = f"--max-seconds {max_seconds:g} does not reach it"
    return tuple(
        r if r.name not in cut else replace(r, count=cut[r.name] or None, problem=r.problem if cut[r.name] else problem)
        for r in results
    )


def _by_instance(series: Series) -> dict[str, dict[str, Sequence[float]]]:
    turned: dict[str, dict[str, Sequence[float]]] = {}
    for block, instances in series.items():
        for instance, calls in instances.items():
            if calls:
                turned.setdefault(instance, {})[block] = calls
    return turned
