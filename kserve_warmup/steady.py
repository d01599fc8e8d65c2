"""When is a series of latencies steady? Judged online, from nothing but the latencies.

The one idea: **the newest three fifths of all calls, cut into six blocks, must cost the same on average.**

The window grows with the series, so the later the last change came, the longer the quiet that has to follow it: compile
tiers come at ever longer distances. Averages are compared, not medians: a median is blind to bursts of compilation, and
they are what users pay for. Only the two dearest calls of a block are left out (garbage collection, a hiccup of the
scheduler, one recompile); a burst is more than two, and shows. Blocks that fall step by step are not alike, however
small the steps.

What noise means changes with time. Early it may hide a change, so it counts against the verdict, and so do wild calls
that cost more than the tolerance. After some hundred calls a change would have shown: what noise explains is forgiven,
and bimodal or contended latencies come to a verdict too. A drift has no noise to be forgiven, and is never steady.

Sources: Georges 2007 (a window must be flat), Barrett 2017 (warm-up goes in steps, and they come late), Traini 2023
(sliding windows stop early on 26-46 % of Java benchmarks), Huber 1964 (bound what one value can do), Welch 1938 (weigh
a difference of means by its standard error). Measured by ``benchmarks/steady_state.py``.
"""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean, median

from kserve_warmup.agreement import SeriesExpectation
from kserve_warmup.profile import Profile

RECOMMENDED_MAX_CALLS = 1000
"""Callers give up here: a series without a verdict by then drifts, or is noisier than the tolerance."""

# Chosen on series of 586 Java benchmarks (Traini 2023), the 325 series of are-we-fast-yet and 200 recorded from small
# models, as round numbers from a flat valley: harm and calls change little around them.
_FIRST_LOOK = 60  # calls; 50 save few and harm a quarter more of the series that compile in bursts
_GROWTH = 1.1  # between looks: keeps the cost per call constant, and few looks are few chances to be fooled
_WINDOW = 0.6  # share of all calls that has to be flat; a half misses late tiers, three quarters give up too often
_BLOCKS = 6  # with four a third more harm; with seven, short blocks are so noisy that settled series are refused
_WILD = 2  # dearest calls of a block that are left out; without it every hiccup costs a look or more
_CUT = 4.0  # medians: what a call counts at most, so that three wild calls in one block are no burst
_STRICTNESS = 0.8  # share of the tolerance that blocks may differ by; the rest is for what can't be seen yet
_DRIFT = 0.3  # share of the tolerance that the window may fall by, if the fall is significant
_SIGNIFICANT = 2.0  # standard errors
_DOUBT = 0.5  # standard errors that are added to the difference of blocks while the series is young
_PATIENCE = 150  # calls after which noise starts to be forgiven
_FORGIVENESS = 1 / 50  # standard errors per call after that
_MAX_FORGIVENESS = 6.0  # standard errors; a larger difference is no noise, whatever its length
_WILD_PATIENCE = 250  # calls after which wild calls are what the plateau is like; before, they may be the last compiles


class SteadyStateDetector:
    """Says from which call on latency is within a tolerance of what it will be.

    Only ratios count, so the unit and the speed of the model make no difference. The detector never gives up: the
    caller bounds calls or seconds and reports what had no verdict by then.

    Args:
        tolerance: How far above the final plateau latency after the verdict may lie, as a share of the plateau.
        profile: What earlier starts learned of this series: the verdict comes earlier where it shows the same again.

    Raises:
        ValueError: If the tolerance is not a positive number.
    """

    def __init__(self, tolerance: float = 0.10, profile: Profile | None = None) -> None:
        if not 0 < tolerance < math.inf:
            raise ValueError(f"tolerance must be a positive number such as 0.1, not {tolerance!r}")
        self.tolerance = tolerance
        self._expectation = SeriesExpectation(profile) if profile else None
        self._seconds: list[float] = []
        self._calls = 0
        self._next_look = _FIRST_LOOK
        self._steady = False

    @property
    def steady(self) -> bool:
        """Whether the verdict has been reached; it is not taken back."""
        return self._steady

    @property
    def profile_used(self) -> bool:
        """Whether the verdict was reached early, because the series showed what the profile had told."""
        return self._expectation is not None and self._expectation.met

    @property
    def profile_refused(self) -> str | None:
        """One line: how the series differs from the profile; None if it does not, or there is none."""
        return self._expectation.refused(self._seconds) if self._expectation else None

    @property
    def calls(self) -> int:
        """How many latencies were observed, those after the verdict included."""
        return self._calls

    @property
    def steady_latency(self) -> float | None:
        """Seconds: the median of the newest three fifths of the calls up to the verdict; None before the first call."""
        return median(newest_calls(self._seconds)) if self._seconds else None

    def observe(self, seconds: float) -> bool:
        """Take the latency of the next call and say whether the series is steady by now.

        Args:
            seconds: The latency of one call. Zero is allowed: clocks are coarse.

        Raises:
            ValueError: If it is negative, infinite or not a number. The call is then not counted.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"a latency must be zero or a positive, finite number of seconds, not {seconds!r}")
        self._calls += 1
        if not self._steady:
            self._seconds.append(seconds)
            if self._calls >= self._next_look:
                self._next_look = math.ceil(self._calls * _GROWTH)
                self._steady = is_flat(newest_calls(self._seconds), self._calls, self.tolerance)
            if self._expectation and not self._steady:
                self._steady = self._expectation.meets(self._seconds)
        return self._steady


def newest_calls(seconds: list[float]) -> list[float]:
    """Return the calls that have to be alike: the newest three fifths."""
    return seconds[-math.ceil(len(seconds) * _WINDOW) :]


def is_flat(window: list[float], calls: int, tolerance: float) -> bool:
    """Return whether a window cut into blocks costs the same in each, and does not fall.

    Args:
        window: Latencies, at least 18; only ratios count.
        calls: How many calls the series has: noise is forgiven later.
        tolerance: See :class:`SteadyStateDetector`.
    """
    blocks = _tame_blocks(window)
    means = [fmean(block) for block in blocks]
    noise = _standard_error(blocks, means)
    return (
        _alike(means, noise, calls, tolerance)
        and not _falling(means, noise, tolerance)
        and (calls >= _WILD_PATIENCE or fmean(window) <= (1 + tolerance) * fmean(means))
    )


def _tame_blocks(window: list[float]) -> list[list[float]]:
    """The window in blocks, each without its wild calls."""
    most = _CUT * median(window)
    edges = [len(window) * i // _BLOCKS for i in range(_BLOCKS + 1)]
    return [[min(value, most) for value in sorted(window[start:end])[:-_WILD]] for start, end in pairwise(edges)]


def _standard_error(blocks: list[list[float]], means: list[float]) -> float:
    """Seconds: of a block's mean, from the spread inside the blocks only, so that no drift is taken for noise."""
    squares = sum((value - mean) ** 2 for block, mean in zip(blocks, means, strict=True) for value in block)
    count = sum(len(block) for block in blocks)
    return math.sqrt(squares * len(blocks)) / count


def _alike(means: list[float], noise: float, calls: int, tolerance: float) -> bool:
    """Whether the dearest block costs little more than the cheapest, noise counted against it early and for it late."""
    forgiveness = max(0.0, (calls - _PATIENCE) * _FORGIVENESS)
    doubt = _DOUBT - min(forgiveness, _MAX_FORGIVENESS)
    return max(means) - min(means) + doubt * noise <= _STRICTNESS * tolerance * min(means)


def _falling(means: list[float], noise: float, tolerance: float) -> bool:
    """Whether the newer half of the blocks is cheaper than the older, by more than noise and more than a little."""
    half = len(means) // 2
    fall = fmean(means[:half]) - fmean(means[half:])
    # The ends of an even fall lie twice as far apart as its halves; the noise is that of a difference of two halves.
    return 2 * fall > _DRIFT * tolerance * min(means) and fall > _SIGNIFICANT * noise * math.sqrt(2 / half)
