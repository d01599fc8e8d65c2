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

LEVEL_CALLS = (1.35, 4)  # times the calls that it took to settle, and calls beyond
CURVE_CALLS = (1.35, 10)
_WINDOW = 0.6  # newest share of the calls
_BELOW, _ABOVE = 0.12, 0.03  # of the lowest plateau that was learned: where the newest calls must lie
_WILD = 0.05  # above it: what they may cost with wild calls in full
_ALIKE = 0.05  # by how much their thirds may differ
_FIRST = 0.12  # by how much the first call's ratio may differ
_THIRDS = 0.04  # by how much new over learned may differ between thirds
_FALL = 0.05  # newer half of the window against the older
_GROWTH = 1.1  # between looks
_LATE = 60  # calls: what settled later settles at another call each time, and nearly all harm was there
_TINY = 1e-9  # a share, or seconds
_EVERY = 20  # calls up to which each is looked at


class SeriesExpectation:
    """What a profile lets expect of one series, and whether it was met."""

    def __init__(self, profile: Profile) -> None:
        """Take what earlier starts learned."""
        self._profile = profile
        self._next_look = self._least()
        self.met = False

    def _least(self) -> float:
        return self._needed(CURVE_CALLS if self._profile.hint else LEVEL_CALLS)

    def _needed(self, calls: tuple[float, int]) -> float:
        factor, more = calls
        settled = [run.settled for run in self._profile.runs]
        return math.inf if max(settled) > _LATE else math.ceil(factor * median(settled)) + more

    def meets(self, seconds: Sequence[float]) -> bool:
        """Return whether the calls so far, from the first on, are as the profile says."""
        if len(seconds) < self._next_look:
            return False
        self._next_look = max(len(seconds) + 1, math.ceil(len(seconds) * (_GROWTH if len(seconds) > _EVERY else 1)))
        self.met = self._level(seconds) or self._curve(seconds)
        return self.met

    def refused(self, seconds: Sequence[float]) -> str | None:
        """Return how the calls so far differ from what was learned, None if they do not, or too few tell."""
        if self.met or not seconds:
            return None
        if self._least() == math.inf:
            return f"it was learned to settle only after call {_LATE}"
        if len(seconds) < self._least():
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
        lowest = min(run.plateau for run in runs)
        return (
            1 - _BELOW <= tame_mean(window) / lowest <= 1 + _ABOVE
            and fmean(window) <= (1 + _WILD) * lowest
            and _alike(window)
            and not _falls(window)
        )

    def _curve(self, seconds: Sequence[float]) -> bool:
        enough = len(seconds) >= self._needed(CURVE_CALLS)
        return enough and any(follows(seconds, run) for run in self._profile.runs)


def follows(seconds: Sequence[float], run: LearnedRun) -> bool:
    """Return whether calls follow the curve of a run, at whatever speed."""
    count = len(seconds)
    window = _newest(seconds)
    level = tame_mean(window)
    if not level or _falls(window):
        return False
    if abs(math.log(max(seconds[0] / level, _TINY) / max(run.curve[0], _TINY))) > math.log(1 + _FIRST):
        return False
    ratios = [tame_mean(seconds[start:end]) / max(run.expected(start, end), _TINY) for start, end in _thirds(1, count)]
    return min(ratios) > 0 and max(ratios) <= (1 + _THIRDS) * min(ratios)


def _newest(seconds: Sequence[float]) -> Sequence[float]:
    return seconds[-math.ceil(len(seconds) * _WINDOW) :]


def _falls(window: Sequence[float]) -> bool:
    half = len(window) // 2
    return half > 0 and fmean(window[:half]) > (1 + _FALL) * fmean(window[half:])


def _alike(window: Sequence[float]) -> bool:
    means = [tame_mean(window[start:end]) for start, end in _thirds(0, len(window))]
    return max(means) <= (1 + _ALIKE) * min(means)


def _thirds(first: int, last: int) -> list[tuple[int, int]]:
    """Where the thirds of calls begin and end, as far as each has one."""
    edges = [max(first, last * third // 3) for third in range(4)]
    return [(start, end) for start, end in pairwise(edges) if start < end]
