"""Which stratum to call next: what evidence is lacking, and what it may cost.

Evidence has a price. Calls beyond the second of a stratum are bought in seconds, not by number: while nothing moves,
half a second of them in all, and cheap ones first. A quick model gets as many as a strict test needs, a slow one few.
What moves is followed beyond that, as far as it is in proportion to what the process's one-off costs took.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median_low

from kserve_warmup.settling import Settling, common_noise, learned_depth, settle, shared_fall
from kserve_warmup.steady import is_flat, newest_calls

_FREE = 0.03  # seconds of evidence that are bought in any case: nobody notices, and quick code is compiled late
_CHEAP = 0.4  # seconds of evidence that are bought in any case while there are
_FEW = 160  # calls or fewer
_PROPORTION = 0.4  # of the seconds that could not be saved: evidence that may be bought while something moves
_MOVED = 1.2  # the first call over the second, or the second over an earlier path's: the second may have compiled
_POOLED = 60  # calls of all strata, without their one-off costs, from which on they are tested as one series
_FORGIVEN = 350  # calls at which that test forgives as much noise as is forgiven once the budget is spent
_GROWTH = 1.05  # from this many calls to the next look
_TINY = 1e-9  # seconds: clocks are coarse
_RECENT = 5  # calls that tell what the next one costs
_ONE_OFF = 2  # times the dearest later call: what a call took beyond that is no price of evidence
_AS_FAST = 1.25  # of a known level: the rest is the path's own work
_TWICE = 2  # calls of each stratum that are made in any case: the first pays, the second shows


@dataclass(frozen=True, slots=True)
class Limits:
    """What evidence may cost.

    Attributes:
        budget: Seconds when nothing moves.
        chase: Seconds while something moves, at the least.
        deep: Calls of a stratum that can afford them.
    """

    budget: float
    chase: float
    deep: int


NEW = Limits(0.5, 1.0, 14)  # frameworks recompile up to the twelfth call
KNOWN = Limits(0.1, 0.5, 3)  # each stratum's own costs were paid on an earlier path


@dataclass
class StratumCalls:
    """The calls of one stratum so far.

    Attributes:
        order: Its place among the strata.
        known: Seconds that it took on an earlier path, None if there was none.
        seconds: What is compared of each call, such as the time to a streamed answer's first token.
        also: What else is compared, such as the time per token after it: of calls that show it.
        took: Seconds that each call took in all, which mostly is the same.
        cost: Seconds that its next call will take, as far as is known.
        evidence: Seconds that its calls beyond the second took, one-off costs aside.
    """

    order: int
    known: float | None = None
    left_out: bool = False
    seconds: list[float] = field(default_factory=list)
    also: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    settling: Settling | None = None
    total: float = 0.0
    cost: float = 0.0
    evidence: float = 0.0

    @property
    def calls(self) -> int:
        """How many calls were observed."""
        return len(self.seconds)

    @property
    def least(self) -> int:
        """Calls that it needs in any case; one is enough if it was about as fast as on an earlier path."""
        fast = self.known is not None and self.calls > 0 and self.seconds[0] <= _AS_FAST * self.known
        return 1 if fast else _TWICE

    @property
    def whole(self) -> float:
        """How many times as long a call takes as what is compared of it."""
        return 1.0 if self.took == self.seconds else median_low(self.took) / max(median_low(self.seconds), _TINY)

    def observe(self, seconds: float, took: float, also: float | None) -> None:
        """Take the latency of the next call, what it took in all, and what else is compared."""
        self.seconds.append(seconds)
        self.also += [] if also is None else [also]
        self.took.append(took)
        self.total += took
        self.cost = median_low(self.took[max(1, self.calls - _RECENT) :] or self.took)
        if self.calls > _TWICE:
            self.evidence += min(took, _ONE_OFF * self.cost)

    def settle(self, noise: float, tolerance: float) -> Settling:
        """Judge the calls so far; there is at least one."""
        self.settling = settle(self.seconds, noise, tolerance)
        if len(self.also) * 2 > self.calls:
            self.settling = self.settling.beside(settle(self.also, noise, tolerance))
        self.evidence, later = 0.0, self.settling.level * self.whole
        for took in reversed(self.took[_TWICE:]):  # what comes back, such as a neighbour's work, is paid each time
            self.evidence += min(took, _ONE_OFF * later)
            later = max(later, took)
        return self.settling


@dataclass(frozen=True, slots=True)
class Findings:
    """What the calls of all strata say together.

    Attributes:
        depth: The last call up to which strata pay one-off costs, as more than one of them showed.
        late: Whether one was compiled again after its second call.
        fall: How much all still fall, as a logarithm; negative if they rise, 0 if noise explains it.
        flat: Whether all calls, as one series, pass the test of :class:`~kserve_warmup.steady.SteadyStateDetector`.
        uneven: Whether they fail it even if noise is forgiven.
        next_look: How many calls there should be before looking again is worth the while.
    """

    depth: int = 0
    late: bool = False
    fall: float = 0.0
    flat: bool = False
    uneven: bool = False
    next_look: int = 0

    def moves(self, one: StratumCalls) -> bool:
        """Whether a stratum is not settled by itself; a compilation that was to come needs no quiet after it."""
        return one.settling is None or not (one.settling.quiet or one.calls == self.depth)


def find(strata: Sequence[StratumCalls], pooled: Sequence[tuple[StratumCalls, int]], tolerance: float) -> Findings:
    """Judge all calls so far.

    Args:
        strata: Those that are not left out and were called.
        pooled: All calls in order of time: of which stratum, and which of its calls, counted from 0.
        tolerance: See :class:`~kserve_warmup.steady.SteadyStateDetector`.
    """
    noise = common_noise(one.seconds for one in strata)
    found = [one.settle(noise, tolerance) for one in strata]
    _expect(strata)
    series = [
        one.seconds[index] / (one.settling.level or 1.0)
        for one, index in pooled
        if one.settling and not one.left_out and index >= one.settling.one_offs
    ]
    newest, enough = newest_calls(series), len(series) >= _POOLED
    flat = enough and is_flat(newest, len(series), tolerance)
    return Findings(
        depth=learned_depth(found),
        late=any(one.one_offs > _TWICE for one in found),
        fall=shared_fall(found, tolerance),
        flat=flat,
        uneven=enough and not flat and not is_flat(newest, max(len(series), _FORGIVEN), tolerance),
        next_look=math.ceil(len(pooled) * _GROWTH) if len(pooled) >= _POOLED else 0,
    )


def _expect(strata: Sequence[StratumCalls]) -> None:
    """Where the stratum that is ahead was compiled at its second call too, others get faster by as much as it did."""
    ahead = max(strata, key=lambda one: one.calls)
    if ahead.settling and ahead.settling.one_offs >= _TWICE:
        faster = ahead.settling.level / max(ahead.seconds[_TWICE - 1], ahead.settling.level, _TINY)
        for one in strata:
            if one.calls == _TWICE:
                one.cost = one.took[-1] * faster


def choose(
    strata: Sequence[StratumCalls], findings: Findings, limits: Limits, tolerance: float, max_calls: int
) -> StratumCalls | None:
    """Return the stratum whose evidence is lacking and has cost least, None if all is known that may be bought.

    Args:
        strata: Those that are not left out, in their order.
        findings: What all calls so far say.
        limits: What evidence may cost.
        tolerance: See :class:`~kserve_warmup.steady.SteadyStateDetector`.
        max_calls: A stratum with so many is called no more.
    """
    asked = [one for one in strata if one.calls < max_calls]
    first = next((one for one in asked if not one.calls), None)
    first = first or next((one for one in asked if one.calls < one.least), None)
    if first or not asked:
        return first
    spent = sum(one.evidence for one in strata)
    chase = max(limits.chase, _PROPORTION * (sum(one.total for one in strata) - spent))
    wanting = (
        _scouts(asked, limits, spent, chase)
        or [one for one in asked if one.calls < findings.depth and spent + one.cost <= 2 * chase]
        or _affordable(asked, findings, limits, spent)
        or _moving(asked, findings, tolerance, spent, chase)
    )
    return min(wanting, key=lambda one: (one.evidence, one.order), default=None)


def _scouts(strata: Sequence[StratumCalls], limits: Limits, spent: float, chase: float) -> list[StratumCalls]:
    """Return the stratum that goes ahead: what it shows at its calls, the others may do at theirs.

    It is the cheapest, and goes as deep as the budget allows. If it paid a one-off cost, it goes on until it has been
    further; and a second one follows it to a late one, to tell a recompilation from a hiccup. Whatever a third call may
    cost, it is made if the second was not as slow as the first, or slower: it too may have compiled.
    """
    ahead = sorted(strata, key=lambda one: (-max(one.calls, _TWICE), one.cost, one.order))[:2]
    first, second = ahead[0], ahead[-1]
    shown = first.settling.one_offs if first.settling else 0
    if first.calls < limits.deep and spent + first.cost <= limits.budget:
        return [first]
    if first.calls < shown + 2 and spent + first.cost <= chase:
        return [first]
    compared = first.cost / first.whole
    expected = first.known is not None and compared <= _MOVED * first.known
    if first.calls == _TWICE and not expected and (shown or compared < first.seconds[0] / _MOVED):
        return [first]
    return [second] if second.calls < shown > _TWICE and spent + second.cost <= chase else []


def _affordable(strata: Sequence[StratumCalls], findings: Findings, limits: Limits, spent: float) -> list[StratumCalls]:
    """Return those whose next call fits into the budget, as long as it may tell something."""
    shallow = [one for one in strata if one.calls < limits.deep and spent + one.cost <= limits.budget]
    if findings.late:  # one more reason to go deep, where it can be reached
        shallow += [one for one in strata if 0 < (limits.deep - one.calls) * one.cost <= limits.chase - spent]
    if shallow:
        return shallow
    enough = spent >= (_FREE if sum(one.calls for one in strata) >= _FEW else _CHEAP)
    return [] if findings.flat and enough else [one for one in strata if spent + one.cost <= limits.budget]


def _moving(
    strata: Sequence[StratumCalls], findings: Findings, tolerance: float, spent: float, chase: float
) -> list[StratumCalls]:
    """Return those that still move; all of them, if what they share does. A large fall may cost twice as much."""

    def worth(one: StratumCalls, fall: float) -> bool:
        return spent + one.cost <= chase * (2 if fall > tolerance else 1)

    if findings.fall or findings.uneven:
        return [one for one in strata if worth(one, findings.fall)]
    moving = [(one, one.settling) for one in strata if findings.moves(one)]
    return [one for one, own in moving if worth(one, own.fall if own and own.falls else 0.0)]
