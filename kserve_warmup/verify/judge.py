"""What first requests prove, and when a machine is too noisy for a verdict.

The one idea: **the first request of a warm server is one more draw from its steady latencies.** How far the median of N
such draws strays is known from the spread of the steady ones. A limit that this alone could carry a warm server past
cannot be checked: more starts or a quieter machine are needed, and the verdict is refused. What lies past the limit by
more than that is no accident however noisy the machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from typing import Literal

Verdict = Literal["pass", "fail", "noisy"]

CONFIDENCE = 0.95
"""Of all verdicts together: the more strata are judged, the more certain each one has to be."""

_MAD_TO_SIGMA = 1.4826  # of a normal distribution, whose tails a busy machine's latencies exceed: hence the MAD
_MEDIAN_TO_MEAN = math.sqrt(math.pi / 2)  # how much more than a mean a median strays
_SPREAD_FROM = 5  # starts from which the spread of the first requests themselves tells anything


@dataclass(frozen=True, slots=True)
class Series:
    """The requests of one stratum to one fresh start, in milliseconds and in the order sent; at least two."""

    latencies_ms: tuple[float, ...]

    @property
    def first_ms(self) -> float:
        """Return the first request's latency."""
        return self.latencies_ms[0]

    @property
    def later_ms(self) -> tuple[float, ...]:
        """Return the later half."""
        return self.latencies_ms[max(1, len(self.latencies_ms) // 2) :]

    @property
    def steady_ms(self) -> float:
        """Return the median of the later half."""
        return median(self.later_ms)

    @property
    def ratio(self) -> float:
        """Return first divided by steady."""
        return self.first_ms / self.steady_ms


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the series of several starts say.

    ``ratio`` is the median of first ÷ steady and ``worst`` the largest; ``inside`` the share (0 to 1) of first requests
    that no steady request would have been conspicuous beside: at most the 95th percentile of the steady ones.
    ``doubt`` is how far the median of as many steady requests may stray from 1, as a ratio.
    """

    first_ms: float
    steady_ms: float
    ratio: float
    worst: float
    inside: float
    doubt: float
    verdict: Verdict


def judge(series: Sequence[Series], max_ratio: float, judged: int = 1) -> Judgement:
    """Judge one stratum, or the first requests of all starts.

    Args:
        series: one for each start.
        max_ratio: the largest ratio that passes, above 1.
        judged: how many verdicts are given side by side.
    """
    ratios = [s.ratio for s in series]
    steady = [value / s.steady_ms for s in series for value in s.later_ms]
    middle, doubt = median(ratios), _doubt(series, judged)
    ordered = sorted(steady)
    usual = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return Judgement(
        first_ms=median(s.first_ms for s in series),
        steady_ms=median(s.steady_ms for s in series),
        ratio=middle,
        worst=max(ratios),
        inside=sum(r <= usual for r in ratios) / len(ratios),
        doubt=doubt,
        verdict=_verdict(middle, doubt, max_ratio),
    )


def starts_needed(judgement: Judgement, starts: int, max_ratio: float) -> int:
    """Return how many starts would settle a verdict on a machine as noisy as this."""
    return math.ceil(starts * (judgement.doubt / (max_ratio - 1)) ** 2)


def _verdict(ratio: float, doubt: float, limit: float) -> Verdict:
    if ratio - doubt > limit:
        return "fail"
    if ratio + doubt > limit and doubt > limit - 1:
        return "noisy"
    return "fail" if ratio > limit else "pass"


def _doubt(series: Sequence[Series], judged: int) -> float:
    """Return how far a warm server's median ratio strays, one-sided and at the confidence of all verdicts together."""
    spread = _sigma([value / s.steady_ms for s in series for value in s.later_ms])
    if len(series) >= _SPREAD_FROM:
        ratios = [s.ratio for s in series]
        spread = max(spread, _sigma([r / median(ratios) for r in ratios]))
    count = median(len(s.later_ms) for s in series)
    spread *= math.sqrt(1 + math.pi / 2 / count)  # the plateau that a first request is divided by is itself measured
    few = len(series) < 3  # noqa: PLR2004  (the median of one or two values is their mean)
    error = spread / math.sqrt(len(series)) * (1 if few else _MEDIAN_TO_MEAN)
    return error * NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / judged)


def _sigma(values: Sequence[float]) -> float:
    middle = median(values)
    return _MAD_TO_SIGMA * median(abs(value - middle) for value in values)
