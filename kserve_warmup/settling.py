"""What the calls of one stratum, and those of all together, say about whether anything still gets faster.

Three things can be seen in few calls, and each has a test of its own:

- **A one-off cost** is a call dearer by half than any that came after it. What comes back (two samples of different
  size that take turns, garbage collection, a cache that misses) is therefore none, however wild it is.
- **A fall**: the newer half of the newest calls is cheaper than the older half, by more than noise explains. Both are
  logarithms, so that strata whose levels differ a thousandfold can be added up, each weighed by its calls.
- **Noise** is what one call differs from the next by; a trend hardly shows in that.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean, median, median_low

_LEAST_SLACK = 0.5  # a call counts as one-off cost from this share above all later ones
_MOST_SLACK = 2.0  # compiling is dearer than that, however noisy the calls are
_NOISY = 4.0  # spreads: less above all later calls may be noise
_BEFORE = 5  # calls that the newest is compared with: dearer than all of them, it may be the first of a recompilation
_QUIET = 4  # a one-off cost at call k must be followed by 1 + k / 4 calls without, 1 + _MOST_QUIET at most
_MOST_QUIET = 3  # what comes back every few calls, such as garbage collection, would wait for ever
_WINDOW = 0.6  # newest share of the calls since the last one-off cost that must not fall
_SHORT = 12  # calls: of fewer all count
_FALL = 0.2  # share of the tolerance: a smaller fall is of no account
_SIGNIFICANT = 2.5  # standard errors, of one stratum; there are many, and each false alarm costs calls
_SHARED_SIGNIFICANT = 1.5  # standard errors, of all strata together
_RISE = 3.0  # standard errors: a rise harms nobody, and may only be noise that comes in phases
_RISE_CALLS = 12  # of all strata
_HARDLY = 4  # calls that say nothing about a fall by themselves
_NOISE = 0.03  # of a call, where too few calls tell
_FEW = 6  # differences of neighbours
_PRIOR = 4  # calls' worth of the noise of all strata that a stratum's own noise is mixed with
_NORMAL = 0.6745 * math.sqrt(2)  # median difference of two values of a normal distribution, in its spreads
_TINY = 1e-9  # seconds: clocks are coarse


@dataclass(frozen=True, slots=True)
class Settling:
    """What the calls of one stratum say.

    Attributes:
        calls: How many they are.
        one_offs: The last call that paid a one-off cost, counted from 1; 0 if none did.
        level: Seconds: the median of the newer half of the calls since then.
        fall: How much cheaper the newer half of the newest calls is, as a logarithm; negative if they rise.
        weight: What ``fall`` counts: one over its variance. 0 if calls are too few.
        falls: Whether noise does not explain the fall.
        quiet: It does not fall, and enough calls came after the last one-off cost.
    """

    calls: int
    one_offs: int
    level: float
    fall: float
    weight: float
    falls: bool
    quiet: bool

    def beside(self, other: Settling) -> Settling:
        """Return what both say of the same calls, of which they compare different things: the worse of each."""
        falling = max((one for one in (self, other) if one.falls), key=lambda one: one.fall, default=self)
        return replace(
            self,
            one_offs=max(self.one_offs, other.one_offs),
            fall=falling.fall,
            weight=falling.weight,
            falls=falling.falls,
            quiet=self.quiet and other.quiet,
        )


def common_noise(strata: Iterable[Sequence[float]]) -> float:
    """Return the spread of a call as a share of its latency, from the calls of all strata."""
    steps = [step for calls in strata for step in _steps(calls)]
    noise = median(steps) / _NORMAL if steps else 0.0
    return noise if len(steps) >= _FEW else max(noise, _NOISE)


def settle(calls: Sequence[float], common: float, tolerance: float) -> Settling:
    """Judge the calls of one stratum, of which there is at least one.

    Args:
        calls: Latencies in seconds, from the first call on.
        common: The noise that strata of this process have, as :func:`common_noise` tells it.
        tolerance: See :class:`~kserve_warmup.steady.SteadyStateDetector`.
    """
    slack = 1 + min(max(_LEAST_SLACK, _NOISY * common), _MOST_SLACK)
    rising = len(calls) > 1 and calls[-1] > slack * max(calls[-1 - _BEFORE : -1])
    last = len(calls) - 1 if rising else _one_offs(calls, slack)
    rest = calls[max(last, 1) :] or calls  # the first call is slow by a little even where nothing is compiled
    fall, weight = _fall(rest[-max(_SHORT, math.ceil(len(rest) * _WINDOW)) :], common)
    falls = len(rest) > _HARDLY and fall > max(_FALL * tolerance, _SIGNIFICANT / math.sqrt(weight))
    quiet = not rising and not falls and len(rest) > min(last // _QUIET, _MOST_QUIET)
    typical = (calls[1:-1] or calls[:1]) if rising else rest
    return Settling(len(calls), last, median_low(typical[len(typical) // 2 :]), fall, weight, falls, quiet)


def shared_fall(strata: Iterable[Settling], tolerance: float) -> float:
    """Return how much latency still falls when all strata are taken together, each against itself.

    As a logarithm, negative if it rises, and 0 if noise explains it or it is of no account.
    """
    found = list(strata)
    weight = sum(one.weight for one in found)
    if not weight:
        return 0.0
    fall = sum(one.fall * one.weight for one in found) / weight
    error = 1 / math.sqrt(weight)
    rises = sum(one.calls for one in found) >= _RISE_CALLS and fall < -max(tolerance / 2, _RISE * error)
    return fall if rises or fall > max(_FALL * tolerance, _SHARED_SIGNIFICANT * error) else 0.0


def learned_depth(strata: Iterable[Settling]) -> int:
    """Return the last call up to which strata pay one-off costs: two at least, and most of those that got further."""
    found = list(strata)

    def usual(depth: int) -> bool:
        late, further = sum(one.one_offs >= depth for one in found), sum(one.calls > depth for one in found)
        return late > 1 and late * 2 >= further

    return max(filter(usual, {one.one_offs for one in found}), default=0)


def _steps(calls: Sequence[float]) -> list[float]:
    """How much each call differs from the one before, without the first, which compiles."""
    return [abs(math.log(max(newer, _TINY) / max(older, _TINY))) for older, newer in pairwise(calls[1:])]


def _one_offs(calls: Sequence[float], slack: float) -> int:
    later = calls[-1]
    for index in range(len(calls) - 2, -1, -1):
        if calls[index] > slack * later:
            return index + 1
        later = max(later, calls[index])
    return 0


def _fall(calls: Sequence[float], common: float) -> tuple[float, float]:
    """How much cheaper the newer half is, as a logarithm, and one over the variance of that."""
    half = len(calls) // 2
    if not half:
        return 0.0, 0.0
    halves = [[math.log(max(call, _TINY)) for call in part] for part in (calls[:half], calls[half:])]
    older, newer = (fmean(part) for part in halves)
    squares = sum((value - mean) ** 2 for part, mean in zip(halves, (older, newer), strict=True) for value in part)
    # inside the halves, so that no drift is taken for noise; few calls may agree by chance
    variance = (squares + _PRIOR * common**2) / (len(calls) - 2 + _PRIOR)
    return older - newer, half * (len(calls) - half) / len(calls) / max(variance, _TINY)
