"""When are all strata of one process steady? Judged together, and which of them to call next.

The one idea: **what strata share is judged once, from all their calls; alone, a stratum only has to show that its own
one-off costs are over.** And evidence has a price: calls beyond the second of a stratum are bought evenly in seconds,
not in calls, until a budget of seconds is spent. A quick model gets as many as a strict test needs, a slow one gets few
and is not late for them. Only what still moves is called beyond the budget, until it has been quiet.

In order: each stratum is called once, then each a second time, both in the order in which they were given; then the
stratum is called whose evidence has cost least. One that shows what the others cannot have shown yet, such as a
recompilation at the twelfth call, takes the others with it if more than one shows it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Any, Generic, TypeVar

from kserve_warmup.settling import Settling, common_noise, learned_depth, settle, shared_fall
from kserve_warmup.steady import RECOMMENDED_MAX_CALLS, is_flat, newest_calls

__all__ = ["SteadyStateJudge", "Verdict"]

StratumT = TypeVar("StratumT", bound=Hashable)

_FREE = 0.1  # seconds of evidence that are bought in any case: nobody sees them, and quick code is compiled late
_CHEAP = 0.25  # seconds of evidence that are bought in any case if there are
_FEW = 160  # calls or fewer
_CHASE_SHARE = 0.4  # of the seconds that an oracle would have paid too: evidence that may be bought while it moves
_FIRST_LOOK = 60  # calls of all strata before the strict test can end the evidence early
_FORGIVEN = 350  # calls of a series that noise is forgiven as much as here when the budget is spent
_GROWTH = 1.05  # between looks
_RECENT = 5  # calls that tell what the next one costs


@dataclass(frozen=True, slots=True)
class _Limits:
    """What evidence may cost: seconds when nothing moves, seconds while something does, and calls of one stratum."""

    budget: float
    chase: float
    deep: int


_NEW = _Limits(0.5, 1.0, 14)  # frameworks recompile up to the twelfth call
_KNOWN = _Limits(0.1, 0.5, 3)  # each stratum's own costs were paid on an earlier path


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of one stratum.

    Attributes:
        steady: Whether its latency is what it will be, the process's shared costs included.
        calls: How many of its calls were observed.
        level: Seconds: the median of its newest calls; None before the first.
        reason: Why it is not steady; None if it is.
    """

    steady: bool
    calls: int
    level: float | None
    reason: str | None = None


@dataclass
class _Stratum:
    order: int
    known: Verdict | None
    calls: list[float] = field(default_factory=list)
    left_out: bool = False
    settling: Settling | None = None
    seconds: float = 0.0
    cost: float = 0.0
    """Seconds that the next call will take, as far as is known."""
    evidence: float = 0.0
    """Seconds that calls beyond the second have cost, one-off costs aside."""

    def observe(self, seconds: float) -> None:
        self.calls.append(seconds)
        self.seconds += seconds
        self.cost = median_low(self.calls[max(1, len(self.calls) - _RECENT) :] or self.calls)
        if len(self.calls) > 2:  # noqa: PLR2004
            self.evidence += min(seconds, self.cost)

    def settle(self, noise: float, tolerance: float) -> Settling:
        self.settling = settle(self.calls, noise, tolerance)
        self.evidence = sum(min(call, self.settling.level) for call in self.calls[2:])
        return self.settling

    @property
    def least(self) -> int:
        """Calls that it needs in any case."""
        known = self.known and self.known.level
        return 1 if known and self.calls and self.calls[0] <= known else 2


class SteadyStateJudge(Generic[StratumT]):
    """Says which stratum to call next, and when the latency of all is within a tolerance of what it will be.

    It has no clock: it knows what calls cost from the latencies that it is told. The same latencies give the same
    questions and verdicts.

    Args:
        strata: All strata of one process, the largest share of the traffic first.
        tolerance: How far above the final plateau latency after the verdict may lie, as a share of the plateau.
        profiles: What earlier starts learned of strata; not used yet.
        known: Verdicts of these strata on an earlier path in the same process, such as the model's own before REST.
            Only what the new path costs by itself is then looked for, in few calls.
        max_calls: A stratum that is not steady after as many calls is given up.

    Raises:
        ValueError: A stratum is named twice, or tolerance or max_calls is not positive.
    """

    def __init__(
        self,
        strata: Sequence[StratumT],
        tolerance: float = 0.10,
        profiles: Mapping[StratumT, Any] | None = None,
        known: Mapping[StratumT, Verdict] | None = None,
        *,
        max_calls: int = RECOMMENDED_MAX_CALLS,
    ) -> None:
        if not 0 < tolerance < math.inf:
            raise ValueError(f"tolerance must be a positive number such as 0.1, not {tolerance!r}")
        if max_calls < 1:
            raise ValueError(f"max_calls must be a positive number, not {max_calls!r}")
        known, _ = known or {}, profiles
        self.tolerance, self.max_calls = tolerance, max_calls
        self._strata = {stratum: _Stratum(order, known.get(stratum)) for order, stratum in enumerate(strata)}
        if len(self._strata) < len(strata):
            raise ValueError("a stratum is named twice")
        everything_known = all(one.known and one.known.steady for one in self._strata.values())
        self._limits = _KNOWN if everything_known else _NEW
        self._pooled: list[tuple[_Stratum, int]] = []
        self._next_look = 0
        self._depth = 0
        self._fall = 0.0
        self._flat = self._uneven = self._late = self._done = False

    @property
    def steady(self) -> bool:
        """Whether all strata that are not left out are steady."""
        return all(self.verdict(name).steady for name, one in self._strata.items() if not one.left_out)

    def verdict(self, stratum: StratumT) -> Verdict:
        """Return what is known of a stratum.

        Raises:
            KeyError: It is none of the strata.
        """
        one = self._strata[stratum]
        level = (one.settling.level if one.settling else one.cost) if one.calls else None
        reason = self._reason(one)
        return Verdict(reason is None, len(one.calls), level, reason)

    def next(self) -> StratumT | None:
        """Return the stratum to call next, None when there is nothing more to learn."""
        asked = {one.order: name for name, one in self._strata.items()}
        chosen = self._choose()
        if chosen is None:
            self._done = True
            return None
        return asked[chosen.order]

    def observe(self, stratum: StratumT, seconds: float) -> None:
        """Take the latency of one successful call.

        Raises:
            KeyError: It is none of the strata.
            ValueError: The latency is negative, infinite or not a number. The call is then not counted.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"a latency must be zero or a positive, finite number of seconds, not {seconds!r}")
        one = self._strata[stratum]
        self._pooled.append((one, len(one.calls)))
        one.observe(seconds)
        if not self._done and len(self._pooled) >= self._next_look:
            self._look()

    def leave_out(self, stratum: StratumT) -> None:
        """Ask for a stratum no more, and wait for it no longer: no sample of it can be sent.

        Raises:
            KeyError: It is none of the strata.
        """
        self._strata[stratum].left_out = True

    # --- Which stratum next -------------------------------------------------------------------------------------------

    def _choose(self) -> _Stratum | None:
        open_ = [one for one in self._strata.values() if not one.left_out and len(one.calls) < self.max_calls]
        first = next((one for one in open_ if not one.calls), None)
        first = first or next((one for one in open_ if len(one.calls) < one.least), None)
        if first or self._done or not open_:
            return first
        wanting = self._scouts(open_) or self._behind(open_) or self._affordable(open_) or self._unsettled(open_)
        return min(wanting, key=lambda one: (one.evidence, one.order), default=None)

    @property
    def _spent(self) -> float:
        return sum(one.evidence for one in self._strata.values())

    def _scouts(self, candidates: list[_Stratum]) -> list[_Stratum]:
        """The stratum that goes ahead: what it shows at its calls, the others may do at theirs.

        It is the cheapest, and goes as deep as the budget allows. If it paid a one-off cost, it goes on until it has
        been further; and a second one follows it to a late one, to tell a recompilation from a hiccup.
        """
        ahead = sorted(candidates, key=lambda one: (-max(one.least, len(one.calls)), one.cost, one.order))[:2]
        spent, first = self._spent, ahead[0]
        shown = first.settling.one_offs if first.settling else 0
        if spent + first.cost <= self._limits.budget and len(first.calls) < self._limits.deep:
            return [first]
        if spent + first.cost <= self._chase and len(first.calls) < shown + 2:
            return [first]
        late = shown > first.least and spent + ahead[-1].cost <= self._chase
        return [ahead[-1]] if late and len(ahead[-1].calls) < shown else []

    def _behind(self, candidates: list[_Stratum]) -> list[_Stratum]:
        """Those that have yet to make the call at which the others were compiled again."""
        left = 2 * self._chase - self._spent
        return [one for one in candidates if len(one.calls) < self._depth and one.cost <= left]

    def _affordable(self, candidates: list[_Stratum]) -> list[_Stratum]:
        """Those whose next call fits into the budget, as long as it may tell something."""
        spent = self._spent
        affordable = [one for one in candidates if spent + one.cost <= self._limits.budget]
        limit = self._limits.chase if self._late else self._limits.budget
        shallow = [one for one in candidates if len(one.calls) < self._limits.deep and spent + one.cost <= limit]
        enough = spent >= (_FREE if len(self._pooled) >= _FEW else _CHEAP)
        return shallow or ([] if self._flat and enough else affordable)

    @property
    def _chase(self) -> float:
        """Seconds of evidence that may be bought while something moves a little; twice that if it moves much."""
        paid = sum(one.seconds for one in self._strata.values()) - self._spent
        return max(self._limits.chase, _CHASE_SHARE * paid)

    def _unsettled(self, candidates: list[_Stratum]) -> list[_Stratum]:
        """Those that still move; all of them, if what they share does."""
        spent, chase = self._spent, self._chase

        def worth(one: _Stratum, fall: float) -> bool:
            return spent + one.cost <= chase * (2 if fall > self.tolerance else 1)

        if self._fall or self._uneven:
            return [one for one in candidates if worth(one, self._fall)]
        moving = ((one, one.settling) for one in candidates if one.settling and self._moves(one))
        return [one for one, settling in moving if worth(one, settling.fall if settling.falls else 0.0)]

    def _moves(self, one: _Stratum) -> bool:
        """Whether it is not settled by itself; a compilation that was to come, as with others, needs no quiet after."""
        return one.settling is None or not (one.settling.quiet or len(one.calls) == self._depth)

    def _little(self, fall: float) -> bool:
        """Whether what is still to come of a fall stays within the tolerance."""
        return abs(fall) <= self.tolerance / 2

    # --- What the calls say -------------------------------------------------------------------------------------------

    def _look(self) -> None:
        called = [one for one in self._strata.values() if one.calls and not one.left_out]
        noise = common_noise(one.calls for one in called)
        found = [one.settle(noise, self.tolerance) for one in called]
        self._late = any(one.one_offs > 2 for one in found)  # noqa: PLR2004
        self._depth = learned_depth(found)
        self._fall = shared_fall(found, self.tolerance)
        relative = self._relative()
        if len(relative) >= _FIRST_LOOK:
            newest, calls = newest_calls(relative), len(relative)
            self._flat = is_flat(newest, calls, self.tolerance)
            self._uneven = not self._flat and not is_flat(newest, max(calls, _FORGIVEN), self.tolerance)
        if len(self._pooled) >= _FIRST_LOOK:
            self._next_look = math.ceil(len(self._pooled) * _GROWTH)

    def _relative(self) -> list[float]:
        """All calls in order of time, as shares of their stratum's level, without each one's own one-off costs."""
        return [
            one.calls[index] / (one.settling.level or 1.0)
            for one, index in self._pooled
            if one.settling and not one.left_out and index >= one.settling.one_offs
        ]

    def _reason(self, one: _Stratum) -> str | None:
        if not one.calls:
            return "not called"
        if len(one.calls) < min(one.least, 2):
            return "called too few times to tell"
        if self._moves(one) and not (one.settling and one.settling.falls and self._little(one.settling.fall)):
            return "its latency still moves"
        if len(one.calls) < self._depth:
            return f"others were compiled again at call {self._depth}, which it did not reach"
        if not self._little(self._fall) and (self._fall > 0 or len(self._pooled) >= _FIRST_LOOK):
            return f"the latency of all strata still {'falls' if self._fall > 0 else 'rises'}"
        return None if self._done else "more calls are needed to tell"
