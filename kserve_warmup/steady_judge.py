"""When are all strata of one process steady? Judged together, and which of them to call next.

The one idea: **what strata share is judged once, from all their calls; alone, a stratum only has to show that its own
one-off costs are over.** Latencies are compared after each is divided by its own stratum's level, so that HTTP, JSON,
caches and shared code are seen by everybody's calls.

In order: each stratum is called once, then each a second time, both in the order in which they were given. Then the
cheapest goes ahead as a scout, and the rest follows evenly in seconds, as far as the budget for evidence reaches. Where
two are compiled again late, at the twelfth call, say, the others are called as often. What still moves is followed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from kserve_warmup.evidence import KNOWN, NEW, Findings, StratumCalls, choose, find
from kserve_warmup.process_agreement import ProcessExpectation
from kserve_warmup.profile import Profile
from kserve_warmup.steady import RECOMMENDED_MAX_CALLS

StratumT = TypeVar("StratumT", bound=Hashable)

_LITTLE = 0.5  # share of the tolerance: what is still to come of a fall that is no larger stays within the tolerance
_MANY = 60  # calls of all strata from which on a rise is not just noise that comes in phases


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


class SteadyStateJudge(Generic[StratumT]):
    """Says which stratum to call next, and when the latency of all is within a tolerance of what it will be.

    It has no clock: it knows what calls cost from the latencies that it is told. The same latencies give the same
    questions and verdicts.

    Args:
        strata: All strata of one process, the largest share of the traffic first.
        tolerance: How far above the final plateau latency after the verdict may lie, as a share of the plateau.
        profiles: What earlier starts learned of strata on this path: as soon as all that have one show the same again,
            they are called no more. Those without one are judged in full.
        known: Verdicts of these strata on an earlier path in the same process, such as the model's own before REST. If
            there is one of each stratum, only what the new path costs by itself is looked for, in few calls.
        max_calls: A stratum that is not steady after as many calls is given up.

    Raises:
        ValueError: A stratum is named twice, or tolerance or max_calls is not positive.
    """

    def __init__(
        self,
        strata: Sequence[StratumT],
        tolerance: float = 0.10,
        profiles: Mapping[StratumT, Profile] | None = None,
        known: Mapping[StratumT, Verdict] | None = None,
        *,
        max_calls: int = RECOMMENDED_MAX_CALLS,
    ) -> None:
        if not 0 < tolerance < math.inf:
            raise ValueError(f"tolerance must be a positive number such as 0.1, not {tolerance!r}")
        if max_calls < 1:
            raise ValueError(f"max_calls must be a positive number, not {max_calls!r}")
        self.tolerance, self.max_calls = tolerance, max_calls
        levels = {stratum: verdict.level for stratum, verdict in (known or {}).items()}
        self._names = list(strata)
        self._strata = {name: StratumCalls(order, levels.get(name)) for order, name in enumerate(self._names)}
        if len(self._strata) < len(self._names):
            raise ValueError("a stratum is named twice")
        self._expectation = ProcessExpectation(
            {order: profiles[name] for order, name in enumerate(self._names) if profiles and name in profiles}
        )
        self._limits = KNOWN if all(one.known is not None for one in self._strata.values()) else NEW
        self._pooled: list[tuple[StratumCalls, int]] = []
        self._looked_at = 0
        self._findings = Findings()
        self._done = False

    @property
    def steady(self) -> bool:
        """Whether all strata that are not left out are steady."""
        return all(self.verdict(name).steady for name, one in self._strata.items() if not one.left_out)

    @property
    def profile_used(self) -> bool:
        """Whether strata were judged early, because all that have a profile showed what it had told."""
        return self._expectation.met

    @property
    def profile_refused(self) -> str | None:
        """One line: how what was seen differs from the profiles; None if it does not, or there are none."""
        return self._expectation.refused()

    def verdict(self, stratum: StratumT) -> Verdict:
        """Return what is known of a stratum.

        Raises:
            KeyError: It is none of the strata.
        """
        one = self._strata[stratum]
        level = (one.settling.level if one.settling else one.cost / one.whole) if one.calls else None
        reason = self._reason(one)
        return Verdict(reason is None, one.calls, level, reason)

    def next(self) -> StratumT | None:
        """Return the stratum to call next, None when all are judged: steady, or given up."""
        if self._done:
            return None
        chosen = self._choose()
        if chosen is None and self._looked_at < len(self._pooled):
            self._look()
            chosen = self._choose()
        self._done = chosen is None
        return None if chosen is None else self._names[chosen.order]

    def observe(self, stratum: StratumT, seconds: float, took: float | None = None, also: float | None = None) -> None:
        """Take the latency of one successful call.

        Args:
            stratum: What was called.
            seconds: What is compared with other calls of the stratum.
            took: Seconds that the call took in all, which evidence is paid with; None if that is the latency.
            also: What else is compared, such as seconds per token; steady is a stratum in which both are.

        Raises:
            KeyError: It is none of the strata.
            ValueError: The latency is negative, infinite or not a number. The call is then not counted.
        """
        for each in filter(None, (seconds, took, also)):
            if not 0 <= each < math.inf:
                raise ValueError(f"a latency must be zero or a positive, finite number of seconds, not {each!r}")
        one = self._strata[stratum]
        self._pooled.append((one, one.calls))
        one.observe(seconds, seconds if took is None else took, also)
        if not self._done and len(self._pooled) >= self._findings.next_look:
            self._look()

    def leave_out(self, stratum: StratumT) -> None:
        """Ask for a stratum no more, and wait for it no longer: no sample of it can be sent.

        Raises:
            KeyError: It is none of the strata.
        """
        self._strata[stratum].left_out = True
        if not self._done:
            self._look()

    def _choose(self) -> StratumCalls | None:
        asked = [one for one in self._strata.values() if not one.left_out]
        if all(one.calls >= one.least for one in asked):
            if self._expectation.meets(asked, self._limits.budget):
                asked = [one for one in asked if not self._expectation.covers(one)]
            elif (lacking := self._expectation.lacking(asked, self._limits.budget)) and lacking.calls < self.max_calls:
                return lacking
        return choose(asked, self._findings, self._limits, self.tolerance, self.max_calls)

    def _look(self) -> None:
        self._looked_at = len(self._pooled)
        called = [one for one in self._strata.values() if one.calls and not one.left_out]
        self._findings = find(called, self._pooled, self.tolerance) if called else Findings()

    def _reason(self, one: StratumCalls) -> str | None:
        if self._expectation.met and self._expectation.covers(one):
            return None if self._done or one.left_out else "more calls are needed to tell"
        depth, fall, own = self._findings.depth, self._findings.fall, one.settling
        little = _LITTLE * self.tolerance
        drifts = own is not None and own.falls and own.fall <= little
        reasons = (
            (not one.calls, "it was not called"),
            (one.calls < one.least, "it was called too few times to tell"),
            (self._findings.moves(one) and not drifts, "its latency still moves"),
            (one.calls < depth, f"others were compiled again at call {depth}, which it did not reach"),
            (fall > little, "the latency of all strata still falls"),
            (fall < -little and len(self._pooled) >= _MANY, "the latency of all strata still rises"),
            (not self._done, "more calls are needed to tell"),
        )
        return next((reason for holds, reason in reasons if holds), None)
