"""Does a series show what earlier starts learned of it? Two tests, either of which may end a warm-up early.

- **Level**: latency is at the plateau that was learned, in seconds, and has been called as often as that took.
- **Curve**, free of scale: what is new over what was learned is the same share everywhere, from the first call on. It
  knows a slower node, whose every call is slower, from a slower tier, whose later ones are.

A wrong profile passes neither, but by chance; the full judge goes on beside them and needs no more calls than without.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, median

from kserve_warmup.profile import LearnedRun, Profile, tame_mean

LEVEL_CALLS = (1.2, 5)  # times the calls that it took to settle, and calls beyond
CURVE_CALLS = (1.5, 15)
_WINDOW = 0.6  # newest share of the calls
_BELOW, _ABOVE = 0.08, 0.05  # of the learned plateau
_FIRST = 0.12  # by how much the first call's ratio may differ
_THIRDS = 0.05  # by how much new over learned may differ between thirds
_FALL = 0.03  # newer half of the window against the older
_GROWTH = 1.1  # between looks
_EVERY = 20  # calls up to which each is looked at


class SeriesExpectation:
    """What a profile lets expect of one series, and whether it was met."""

    def __init__(self, profile: Profile) -> None:
        """Take what earlier starts learned."""
        self._profile = profile
        self._next_look = self._least()
        self.met = False

    def _least(self) -> int:
        took = max(run.settled for run in self._profile.runs)
        factor, more = CURVE_CALLS if self._profile.hint else LEVEL_CALLS
        return math.ceil(factor * took) + more

    def meets(self, seconds: Sequence[float]) -> bool:
        """Return whether the calls so far, from the first on, are as the profile says."""
        if len(seconds) < self._next_look:
            return False
        self._next_look = max(len(seconds) + 1, math.ceil(len(seconds) * (_GROWTH if len(seconds) > _EVERY else 1)))
        self.met = self._level(seconds) or self._curve(seconds)
        return self.met

    def refused(self, seconds: Sequence[float]) -> str | None:
        """Return how the calls so far differ from what was learned, None if they do not, or too few tell."""
        if self.met or len(seconds) < self._least():
            return None
        plateau = median(run.plateau for run in self._profile.runs)
        ratio = tame_mean(_newest(seconds)) / plateau
        if not self._profile.hint and not 1 - _BELOW <= ratio <= 1 + _ABOVE:
            return f"latencies are {ratio:.2g} times what was learned"
        return "latencies do not follow the curve that was learned"

    def _level(self, seconds: Sequence[float]) -> bool:
        runs = self._profile.runs
        if self._profile.hint:
            return False
        window = _newest(seconds)
        mean = tame_mean(window)
        lowest = min(run.plateau for run in runs)
        return 1 - _BELOW <= mean / lowest <= 1 + _ABOVE and not _falls(window)

    def _curve(self, seconds: Sequence[float]) -> bool:
        factor, more = CURVE_CALLS
        took = max(run.settled for run in self._profile.runs)
        return len(seconds) >= factor * took + more and any(follows(seconds, run) for run in self._profile.runs)


def follows(seconds: Sequence[float], run: LearnedRun) -> bool:
    """Return whether calls follow the curve of a run, at whatever speed."""
    count = len(seconds)
    window = _newest(seconds)
    level = tame_mean(window)
    if not level or _falls(window):
        return False
    if abs(math.log(max(seconds[0] / level, 1e-9) / max(run.curve[0], 1e-9))) > math.log(1 + _FIRST):
        return False
    edges = [max(1, count * third // 3) for third in range(4)]
    ratios = [tame_mean(seconds[a:b]) / run.expected(a, b) for a, b in pairwise(edges)]
    return min(ratios) > 0 and max(ratios) <= (1 + _THIRDS) * min(ratios)


def _newest(seconds: Sequence[float]) -> Sequence[float]:
    return seconds[-math.ceil(len(seconds) * _WINDOW) :]


def _falls(window: Sequence[float]) -> bool:
    half = len(window) // 2
    return half > 0 and fmean(window[:half]) > (1 + _FALL) * fmean(window[half:])
