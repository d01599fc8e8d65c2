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
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, median_low

__all__ = ["Settling", "learned_depth", "settle", "shared_fall", "spread"]

_LEAST_SLACK = 0.5  # a call counts as one-off cost from this share above all later ones
_MOST_SLACK = 2.0  # compiling is dearer than that, however noisy the calls are
_NOISY = 4.0  # spreads: less above all later calls may be noise
_BEFORE = 5  # calls that the newest is compared with: dearer than all of them, it may be the first of a recompilation
_QUIET = 4  # a one-off cost at call k must be followed by 1 + k / 4 calls without
_WINDOW = 0.6  # newest share of the calls since the last one-off cost that must not fall
_FALL = 0.5  # share of the tolerance: a smaller fall is of no account
_SIGNIFICANT = 2.5  # standard errors, of one stratum; there are many, and each false alarm costs calls
_SHARED_SIGNIFICANT = 2.0  # standard errors, of all strata together
_PRIOR = 4  # calls' worth of the noise of all strata that a stratum's own noise is mixed with
_TINY = 1e-9  # seconds: clocks are coarse


@dataclass(frozen=True, slots=True)
class Settling:
    """What the calls of one stratum say.

    Attributes:
        one_offs: The last call that paid a one-off cost, counted from 1; 0 if none did.
        level: Seconds: the median of the newer half of the calls since then.
        fall: How much cheaper the newer half of the newest calls is, as a logarithm; negative if they rise.
        weight: What ``fall`` counts: its variance is that of one call divided by this. 0 if calls are too few.
        quiet: Enough calls came after the last one-off cost, and they don't fall by themselves.
    """

    one_offs: int
    level: float
    fall: float
    weight: float
    quiet: bool


def spread(calls: Sequence[float]) -> float | None:
    """Return the noise of one call as a share of its latency, None if there are fewer than four calls.

    From the differences of neighbours after the first call, so that neither a fall nor a few wild calls count.
    """
    if len(calls) < 4:  # noqa: PLR2004
        return None
    steps = [abs(math.log(max(newer, _TINY) / max(older, _TINY))) for older, newer in pairwise(calls[1:])]
    return median(steps) / (0.6745 * math.sqrt(2))  # of a normal distribution


def settle(calls: Sequence[float], common: float, tolerance: float) -> Settling:
    """Judge the calls of one stratum, of which there is at least one.

    Args:
        calls: Latencies in seconds, from the first call on.
        common: The noise that strata of this process have, as :func:`spread` tells it.
        tolerance: See :class:`~kserve_warmup.steady.SteadyStateDetector`.
    """
    own = spread(calls)
    noise = common
    if own is not None:
        noise = math.sqrt((len(calls) * own**2 + _PRIOR * common**2) / (len(calls) + _PRIOR))
    slack = 1 + min(max(_LEAST_SLACK, _NOISY * noise), _MOST_SLACK)
    rising = len(calls) > 1 and calls[-1] > slack * max(calls[-1 - _BEFORE : -1])
    last = len(calls) - 1 if rising else _one_offs(calls, slack)
    rest = calls[last:]
    newest = rest[-max(2, math.ceil(len(rest) * _WINDOW)) :]
    fall, weight = _fall(newest)
    falls = weight > 1 and fall > _FALL * tolerance and fall > _SIGNIFICANT * noise / math.sqrt(weight)
    quiet = not rising and not falls and len(rest) > last // _QUIET
    return Settling(last, median_low(rest[len(rest) // 2 :]), fall, weight, quiet)


def shared_fall(strata: Iterable[Settling], noise: float, tolerance: float) -> bool:
    """Return whether latency still falls when all strata are taken together, each against itself."""
    found = list(strata)
    weight = sum(one.weight for one in found)
    if not weight:
        return False
    fall = sum(one.fall * one.weight for one in found) / weight
    return fall > _FALL * tolerance and fall > _SHARED_SIGNIFICANT * noise / math.sqrt(weight)


def learned_depth(strata: Iterable[tuple[Settling, int]]) -> int:
    """Return the last call at which most of the strata that went beyond it paid a one-off cost, and two at least.

    Args:
        strata: What each stratum's calls say, and how many they are.
    """
    found = list(strata)
    depths = Counter(one.one_offs for one, _ in found)
    beyond = {depth: sum(calls > depth for _, calls in found) for depth in depths}
    return max((d for d, count in depths.items() if count > 1 and count * 2 >= beyond[d]), default=0)


def _one_offs(calls: Sequence[float], slack: float) -> int:
    later = calls[-1]
    for index in range(len(calls) - 2, -1, -1):
        if calls[index] > slack * later:
            return index + 1
        later = max(later, calls[index])
    return 0


def _fall(calls: Sequence[float]) -> tuple[float, float]:
    half = len(calls) // 2
    if not half:
        return 0.0, 0.0
    older, newer = (
        sum(math.log(max(call, _TINY)) for call in part) / len(part) for part in (calls[:half], calls[half:])
    )
    return older - newer, half * (len(calls) - half) / len(calls)
