"""What first requests prove, and when a machine is too noisy for a verdict.

The one idea: **the first request of a warm server is one more draw from its steady latencies.** How far the median of N
such draws strays is known from the steady ones: each of them, divided by the median of the others of its start, is a
figure that a warm server could have shown. A limit that this alone could carry a warm server past cannot be checked:
more starts or a quieter machine are needed, and the verdict is refused. What lies past the limit by more than that is
no accident however noisy the machine.

Nothing is assumed about how latencies are distributed: medians of N figures are drawn at random (the bootstrap, Efron
1979), always with the same numbers, so that equal measurements get equal verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Literal

from kserve_warmup.latency import Latencies

Verdict = Literal["pass", "fail", "noisy"]

CONFIDENCE = 0.95
"""Of all verdicts together: the more strata are judged, the more certain each one has to be."""

_DRAWS = 4000  # medians drawn: the rarest of interest, one in 400, is still seen ten times


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the series of several starts say.

    ``ratio`` is the median of first ÷ steady and ``worst`` the largest; ``inside`` the share (0 to 1) of first requests
    at or below the 95th percentile of the steady ones. ``doubt`` is how far above 1 a warm server's own figure strays.
    """

    first_ms: float
    steady_ms: float
    ratio: float
    worst: float
    inside: float
    doubt: float
    verdict: Verdict


def judge(series: Sequence[Latencies], max_ratio: float, judged: int = 1) -> Judgement:
    """Judge one stratum, or the first requests of all starts.

    Args:
        series: one for each start.
        max_ratio: the largest ratio that passes, above 1.
        judged: how many verdicts are given side by side.
    """
    ratios = [s.ratio for s in series]
    figures = sorted(figure for s in series for figure in _own_figures(s))
    doubt = _stray(figures, len(series), judged)
    usual = figures[math.ceil(0.95 * len(figures)) - 1]
    return Judgement(
        first_ms=median(s.first_ms for s in series),
        steady_ms=median(s.steady_ms for s in series),
        ratio=median(ratios),
        worst=max(ratios),
        inside=sum(r <= usual for r in ratios) / len(ratios),
        doubt=doubt,
        verdict=_verdict(median(ratios), doubt, max_ratio),
    )


@dataclass(frozen=True, slots=True)
class Judgeable:
    """The smallest limit that the measurements can judge, and their verdict there."""

    max_ratio: float
    verdict: Verdict


def judgeable(judgements: Sequence[Judgement], max_ratio: float) -> Judgeable | None:
    """Return the smallest limit at which none of ``judgements`` is noisy; None where that is ``max_ratio`` itself.

    The noise decides where it lies and not how the server did: what a warm server could have shown lies below it. It is
    rounded up to a tenth, so that the next measurement, whose noise is a little different, can be judged there too.
    """
    if not any(j.verdict == "noisy" for j in judgements):
        return None
    least = max(min(j.ratio, 1.0) + j.doubt for j in judgements if j.verdict == "noisy")
    limit = math.ceil(max(least, max_ratio) * 10) / 10
    verdicts = {_verdict(j.ratio, j.doubt, limit) for j in judgements}
    while "noisy" in verdicts:  # a tenth is no binary fraction
        limit = round(limit + 0.1, 1)
        verdicts = {_verdict(j.ratio, j.doubt, limit) for j in judgements}
    return Judgeable(limit, "fail" if "fail" in verdicts else "pass")


def starts_needed(judgement: Judgement, starts: int, max_ratio: float) -> int:
    """Return how many starts would settle a verdict on a machine as noisy as this."""
    return math.ceil(starts * (judgement.doubt / (max_ratio - 1)) ** 2)


def _own_figures(series: Latencies) -> list[float]:
    """Return each of the later half divided by the median of its others."""
    later = series.later_ms
    return [value / median(later[:i] + later[i + 1 :]) for i, value in enumerate(later)]


def _verdict(ratio: float, doubt: float, limit: float) -> Verdict:
    if ratio - doubt > limit:
        return "fail"
    if ratio + doubt > limit and doubt > limit - 1:
        return "noisy"
    return "fail" if ratio > limit else "pass"


def _stray(figures: Sequence[float], starts: int, judged: int) -> float:
    """Return how far above 1 the median of so many figures strays, at the confidence of all verdicts together."""
    random = Random(0)  # noqa: S311  (no secret)
    medians = sorted(median(random.choices(figures, k=starts)) for _ in range(_DRAWS))
    rank = math.ceil(_DRAWS * (1 - (1 - CONFIDENCE) / judged)) - 1
    return max(0.0, medians[rank] - 1)
