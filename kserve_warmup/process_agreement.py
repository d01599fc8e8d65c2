"""Does a process show, in all its strata together, what earlier starts learned of them? Then few calls are enough.

One call says little: a hiccup is as long as a small model takes. So each stratum's calls are compared with what its
profile lets expect of these very calls, and the process with the middle of that over all its strata. A stratum that
shows something wild beside the others is called again before anything is said.

First calls tell which process it is: what each stratum pays once is its own, and slower or faster by a common factor on
another node. A profile whose first calls were others is of something else. A node that is slower also compiles more
slowly; a process whose later calls alone are slower is in a slower tier, and is judged in full. What several runs
learned is taken for the model's where all of them show it: what one shows at its own moment was a neighbour's.

The judge is asked first for what it would have in any case, so that a profile that is wrong costs it no call; only what
was learned to come late, and what is wild, is called out of turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median, median_low

from kserve_warmup.agreement import SeriesExpectation
from kserve_warmup.evidence import StratumCalls
from kserve_warmup.profile import EDGES, LearnedRun, Profile

_BELOW, _ABOVE = 0.08, 0.05  # of what was learned: where all strata together may lie
_DOUBT = 1.0  # standard errors of their middle that are granted on top,
_MOST_DOUBT = 0.08  # and how much that may be, as a logarithm
_MEDIAN = 1.25  # standard error of a median, in those of a mean
_NORMAL = 0.6745  # median deviation from the median, in spreads
_WILD = 1.6  # times what was learned, the other strata's share aside
_FEW_WILD = 1 / 8  # of the strata may be wild even so
_FASTER, _SLOWER = 0.5, 1.1  # times what was learned: another load of the machine, if newer calls cost what older do
_FALL = 0.05  # by how much the newer may be cheaper, as a logarithm
_NODE = math.log(1.8)  # of first calls: what another load of the machine, or a slower one, explains
_QUIET = math.log(2.5)  # or that it has no neighbours any more
_PATTERN = math.log(1.6)  # what is beyond that in the typical stratum is another process
_ALIKE = math.log(1.1)  # by how much later calls may be slower than first ones are
_DEAR = 2  # later calls beyond one: a first call that tells how fast the machine is
_BURST = 1.25  # of the plateau: later phases that are dearer are no neighbour's
_FEW_LATE = 1 / 8  # of the strata may settle late in every run, and are called as often
_AGAIN = 2  # more calls that a wild stratum is given
_NEWEST = 5  # calls of a stratum that are compared
_TOGETHER = 2  # strata that were dear at the same late call make it no hiccup
_FEWEST = 12  # calls of all strata: a server's own stack takes 6 to 12 until it is as fast as later, whatever it serves
_EARLY = 3  # calls: where any stratum was learned to settle later, what is still to come cannot be told from so few
_TWICE = 2
_TINY = 1e-9  # seconds: clocks are coarse


class ProcessExpectation:
    """What profiles let expect of the strata of one process, and whether it was met.

    Attributes:
        met: Whether what was seen agrees with what was learned; it is not taken back.
    """

    def __init__(self, profiles: Mapping[int, Profile]) -> None:
        """Take what earlier starts learned, by the order of the stratum."""
        late = [profile for profile in profiles.values() if _took(profile) > _EARLY]
        sure = [profile for profile in late if len(profile.runs) == 1 or _same(profile) > _EARLY]
        late = late if sure or len(late) > len(profiles) * _FEW_LATE else []
        self._profiles = {} if late else dict(profiles)
        learned = list(profiles.values())
        first, last = _settled(learned)
        self._settled, self._settled_known = max(_depth(learned), last), first
        self._why: str | None = None
        if late:
            self._why = f"{len(late)} of {len(profiles)} strata were learned to settle after call {_EARLY}"
        self.met = self._recognised = False

    def covers(self, one: StratumCalls) -> bool:
        """Whether there is a profile of a stratum."""
        return one.order in self._profiles

    def enough(self, one: StratumCalls) -> int:
        """Return after how many calls a stratum with a profile is where it was learned to settle."""
        runs = self._profiles[one.order].runs
        took = max(median_low([run.compiled for run in runs]), _repeated([run.one_offs for run in runs]))
        if len(runs) > 1:  # what every run had is no neighbour's work
            took = max(took, _took(self._profiles[one.order]))
        if one.known is not None:  # what all strata share was over on the earlier path
            return max(1, took, self._settled_known)
        return max(_TWICE, max(took, self._settled) + 1)

    def lacking(self, strata: Sequence[StratumCalls], budget: float) -> StratumCalls | None:
        """Return a stratum to call next so that what was learned can be told from what is seen; None if nothing is.

        Args:
            strata: Those that are not left out; each had the calls that are made in any case.
            budget: Seconds that the judge spends on evidence in any case.
        """
        judged = [one for one in strata if self.covers(one)]
        if self.met or not judged or any(self._profiles[one.order].hint for one in judged):
            return None
        left = budget - sum(one.evidence for one in strata)
        few = [one for one in judged if one.calls < self.enough(one)] or self._wild(judged)
        if not few and self._similar(judged):
            few = [one for one in judged if one.calls < max(self.enough(one), _TWICE) + 1]
        if not few and _new(strata, budget):
            few = judged
        few = [one for one in few if one.calls < _TWICE or one.cost <= left]
        return min(few, key=lambda one: (one.calls, one.order), default=None)

    def meets(self, strata: Sequence[StratumCalls], budget: float) -> bool:
        """Return whether all strata that have a profile show what it says; arguments as in :meth:`lacking`."""
        judged = [one for one in strata if self.covers(one)]
        if self.met or not judged or any(not one.calls for one in judged):
            return self.met
        if any(self._profiles[one.order].hint for one in judged):
            self.met = all(self._alone(one) for one in judged)
            self._why = None if self.met else "it is a hint, and latencies do not follow the curve that was learned"
            return self.met
        if not self._recognised:
            self._recognised = True
            if self._another(judged):
                self._profiles, self._why = {}, "the first calls of its strata are not what was learned"
                return False
        if _new(strata, budget) or any(one.calls < self.enough(one) for one in judged):
            return False
        self._why = self._differs(judged)
        self.met = self._why is None
        return self.met

    def refused(self) -> str | None:
        """Return one line: how what was seen differs from what was learned; None if it does not, or too few tell."""
        return None if self.met else self._why

    def _alone(self, one: StratumCalls) -> bool:
        return SeriesExpectation(self._profiles[one.order]).meets(one.seconds)

    def _differs(self, judged: Sequence[StratumCalls]) -> str | None:
        shares = {one.order: self._share(one) for one in judged}
        middle = median(shares.values())
        doubt = _doubt(shares.values())
        beyond = median(self._beyond(one, share) for one, share in zip(judged, shares.values(), strict=True))
        level = math.log(1 - _BELOW) - doubt <= beyond <= math.log(1 + _ABOVE) + doubt
        if not level and not (self._similar(judged) and self._flat(judged)):
            return f"latencies are {math.exp(middle):.2g} times what was learned"
        wild = self._wild_of(judged)
        if len(wild) > len(judged) * _FEW_WILD:
            times = math.exp(shares[wild[0].order])
            return (
                f"the latency of {len(wild)} of {len(judged)} strata differs, of one {times:.2g} times what was learned"
            )
        return None

    def _another(self, judged: Sequence[StratumCalls]) -> bool:
        """Whether first calls, in which strata pay what is theirs alone, show that this is another process.

        All may be dearer by a common factor, as on a slower node.
        """
        learned = [[run.plateau * run.curve[0] for run in self._profiles[one.order].runs] for one in judged]
        apart = [_outside(one.seconds[0], seconds) for one, seconds in zip(judged, learned, strict=True)]
        common = min(max(median(apart), -_QUIET), _NODE)
        return median(abs(value - common) for value in apart) > _PATTERN

    def _similar(self, judged: Sequence[StratumCalls]) -> bool:
        """Whether the process is as fast as it was but for what another load of the machine explains.

        First calls that compiled, and took longer by as much, explain more: what is slower later on does not slow them.
        """
        middle = median(self._beyond(one, self._share(one)) for one in judged)
        told = [slower for one in judged if (slower := self._compiled_slower(one)) is not None]
        explained = median(told) + _ALIKE if len(told) * 2 > len(judged) else 0.0
        return math.log(_FASTER) <= middle <= max(math.log(_SLOWER), min(explained, _NODE))

    def _compiled_slower(self, one: StratumCalls) -> float | None:
        """How much longer than in any run the first call took beyond a later one, as a logarithm; None if too little.

        What compiles is slower on a slower node, and no slower because what it compiles is.
        """
        learned = [run.curve[0] * run.plateau - run.typical for run in self._profiles[one.order].runs]
        later = median(one.seconds[1:] or one.seconds)
        if min(learned) < _DEAR * later or one.seconds[0] < (1 + _DEAR) * later:
            return None
        return _outside(one.seconds[0] - later, learned)

    def _flat(self, judged: Sequence[StratumCalls]) -> bool:
        """Whether newer calls cost what older ones lead to expect of them; all strata had two where none is dear."""
        steps = []
        for one in judged:
            start = max(self.enough(one) - 1, 1 if one.known is None else 0)
            shares = [self._log(one, call) for call in range(start, one.calls)][-_NEWEST:]
            half = len(shares) // 2
            if not half:
                return False
            steps.append(median_low(shares[:half]) - median_low(shares[-half:]))
        doubt = _doubt(steps)
        return -_FALL - doubt <= median(steps) <= _FALL + doubt / 2

    def _wild(self, judged: Sequence[StratumCalls]) -> list[StratumCalls]:
        return [one for one in self._wild_of(judged) if one.calls < self.enough(one) + _AGAIN]

    def _wild_of(self, judged: Sequence[StratumCalls]) -> list[StratumCalls]:
        shares = {one.order: self._beyond(one, self._share(one)) for one in judged}
        middle = median(shares.values())
        return [one for one in judged if shares[one.order] - middle > math.log(_WILD)]

    def _share(self, one: StratumCalls) -> float:
        """What the newest calls of a stratum took over what was learned of these calls, as a logarithm."""
        start = max(min(self.enough(one), one.calls) - 1, one.calls - _NEWEST, 0)
        return median_low([self._log(one, call) for call in range(start, one.calls)])

    def _beyond(self, one: StratumCalls, share: float) -> float:
        """How far a share lies outside what single runs had, in which neighbours were at work or not."""
        typical = [run.typical for run in self._profiles[one.order].runs]
        low, high = (math.log(max(value / median(typical), _TINY)) for value in (min(typical), max(typical)))
        return max(share - high, 0.0) + min(share - low, 0.0)

    def _log(self, one: StratumCalls, call: int) -> float:
        """What a call took over what was learned of it, as a logarithm; ``call`` is counted from 0."""
        runs = self._profiles[one.order].runs
        if call < median_low([run.compiled for run in runs]):
            learned = median(run.plateau * run.expected(call, call + 1) for run in runs)
        else:
            learned = median(run.typical for run in runs)
        return math.log(max(one.seconds[call], _TINY) / max(learned, _TINY))


def _new(strata: Sequence[StratumCalls], budget: float) -> bool:
    """Whether the path had fewer calls than its server's own stack needs, and there is time for more."""
    left = budget - sum(one.evidence for one in strata)
    return sum(one.calls for one in strata) < _FEWEST and min(one.cost for one in strata) <= left


def _outside(seconds: float, learned: Sequence[float]) -> float:
    """How far seconds lie above all that were learned, below them if negative, as a logarithm."""
    value, *others = (math.log(max(each, _TINY)) for each in (seconds, *learned))
    return max(value - max(others), 0.0) + min(value - min(others), 0.0)


def _took(profile: Profile) -> int:
    """Return after how many calls all was over in most runs: what single runs show later is a neighbour's work."""
    runs = profile.runs
    if len(runs) == 1:
        return max(runs[0].settled, runs[0].compiled, runs[0].one_offs)
    return max(median_low([run.settled for run in runs]), _same(profile))


def _same(profile: Profile) -> int:
    """The last call that was dear, if it was so in every run, 0 if that was another each time."""
    one_offs = [run.one_offs for run in profile.runs]
    return min(one_offs) if max(one_offs) - min(one_offs) <= 1 else 0


def _doubt(values: Iterable[float]) -> float:
    """How far the median of values may lie from the true one by chance."""
    found = list(values)
    middle = median(found)
    spread = median(abs(value - middle) for value in found) / _NORMAL
    return min(_DOUBT * _MEDIAN * spread / math.sqrt(len(found)), _MOST_DOUBT)


def _settled(profiles: Sequence[Profile]) -> tuple[int, int]:
    """After how many calls of each stratum all together were at the plateau first, and after how many the last time.

    Together, because a hiccup is one stratum's, and in most runs, because a neighbour's work is one run's. Later phases
    that are as dear as a neighbour makes them do not count.
    """
    blocks: list[tuple[int, int, float]] = []
    for index, (start, end) in enumerate(pairwise(EDGES)):
        seen = [[run for run in profile.runs if run.calls >= end > run.compiled] for profile in profiles]
        seen = [runs for runs, profile in zip(seen, profiles, strict=True) if len(runs) * 2 > len(profile.runs)]
        if not seen or len(seen) * 2 < len(profiles):
            break
        shares = [median_low([run.plateau * run.curve[index] / run.typical for run in runs]) for runs in seen]
        logs = [math.log(max(share, _TINY)) for share in shares]
        blocks.append((start, end, median(logs) - _doubt(logs)))
    calm = [share <= math.log(1 + _ABOVE) for _, _, share in blocks]
    last = blocks[-1][1] if blocks else 0
    first = next((blocks[at][0] for at in range(len(blocks)) if all(calm[at : at + 2])), last)
    return first, max([first, *(end for _, end, share in blocks if share > math.log(_BURST))])


def _repeated(calls: Sequence[int]) -> int:
    """The last call that was dear in more than one run of a stratum, which is then no hiccup."""
    return max((call for call in calls if sum(abs(call - other) <= 1 for other in calls) > 1), default=0)


def _depth(profiles: Sequence[Profile]) -> int:
    """The last call that was dear in most strata at once: of one it may have been a hiccup; and that in most runs."""
    number = max((len(profile.runs) for profile in profiles), default=0)
    return median_low(
        [_depth_of([p.runs[-at] for p in profiles if len(p.runs) >= at]) for at in range(1, number + 1)] or [0]
    )


def _depth_of(runs: Sequence[LearnedRun]) -> int:
    def usual(call: int) -> bool:
        late, further = sum(run.one_offs == call for run in runs), sum(run.calls > call for run in runs)
        return late >= _TOGETHER and late * 2 >= further

    return max(filter(usual, {run.one_offs for run in runs if run.one_offs > _TWICE}), default=0)
