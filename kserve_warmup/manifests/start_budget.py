"""From measured times to ready to the patience that a probe needs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kserve_warmup.caches.bake_result import BakeResult
from kserve_warmup.errors import WarmupError
from kserve_warmup.report import WarmupReport
from kserve_warmup.results import Result, read_results
from kserve_warmup.verify.verify_result import Verification

LEAST = 30
"""Seconds that any budget has: a node that starts many pods at once is slow for a while."""

MOST_SECONDS = 24 * 3600
"""What is longer is a mistake in a file or an option."""

LONGEST_PERIOD = 10
"""Seconds between two questions at most: so much later than it might a replica takes part."""

QUESTIONS = 50
"""Of a start's usual length: how finely it is looked at."""

_P99 = 0.99


@dataclass(frozen=True, slots=True)
class Start:
    """One measured start: seconds from the process's start to ready, and those of the warm-up in it, if known."""

    seconds: float
    warmup_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured: the starts, where they stand, and the slowest kind of request once it is steady, in ms."""

    starts: tuple[Start, ...]
    sources: tuple[str, ...]
    slowest_ms: float | None = None

    @property
    def p99(self) -> float:
        """Return the time to ready, in seconds, within which 99 % of starts were; of fewer than 100 the longest."""
        ordered = sorted(start.seconds for start in self.starts)
        return ordered[math.ceil(_P99 * len(ordered)) - 1]

    @property
    def told(self) -> str:
        """Return the figure in words."""
        several = len(self.starts) > 1
        what = f"p99 of {len(self.starts)} measured starts" if several else "the one measured start"
        return f"{self.p99:.1f} s ({what}: {', '.join(self.sources)})"


@dataclass(frozen=True, slots=True)
class Budget:
    """The seconds that a start may take, in whole periods, and what they come from in words."""

    seconds: int
    period: int
    told: str

    @property
    def failures(self) -> int:
        """Return how often the probe may hear a no."""
        return self.seconds // self.period


def measured(reports: Sequence[Path], seconds: Sequence[float], model: str | None) -> Measured:
    """Return what reports, and ``seconds`` to ready that were measured otherwise, say of ``model``'s starts.

    Raises:
        WarmupError: a file cannot be used, holds no time to ready, or is another model's; or there is nothing at all.
    """
    starts: list[Start] = []
    slowest: list[float] = []
    for path in reports:
        for result in read_results(path):
            found = _starts(result)
            _check(path, result, found, model)
            starts += found
            slowest += _steady(result)
    for given in seconds:
        if not 0 < given <= MOST_SECONDS:
            raise WarmupError(f"--ready-seconds {given:g}: give seconds above 0, and no more than a day")
        starts.append(Start(given))
    if not starts:
        msg = (
            "there is no measured time to ready: name reports with --report FILE (KSERVE_WARMUP_REPORT writes one, "
            "verify --json another), or give --ready-seconds S"
        )
        raise WarmupError(msg)
    names = [path.name for path in reports]
    return Measured(
        tuple(starts), (*dict.fromkeys(names), *(["--ready-seconds"] if seconds else [])), max(slowest, default=None)
    )


def _check(path: Path, result: Result, starts: Iterable[Start], model: str | None) -> None:
    if isinstance(result, WarmupReport) and model is not None and result.model != model:
        raise WarmupError(f"{path} is a report of {result.model}, and not of {model}: leave it out, or give --model")
    found = list(starts)
    if not found:
        msg = (
            f"{path} holds no time to ready: a report of a WarmupModel's start has it, so has verify -- COMMAND; for a "
            "gate give --ready-seconds S, from the process's start to its /ready"
        )
        raise WarmupError(msg)
    if wrong := [s.seconds for s in found if not 0 < s.seconds <= MOST_SECONDS]:
        raise WarmupError(f"{path}: {wrong[0]:g} s to ready: that is no start, remove the file")


def _starts(result: Result) -> list[Start]:
    if isinstance(result, WarmupReport):
        return [] if result.ready_seconds is None else [Start(result.ready_seconds, result.seconds)]
    if isinstance(result, Verification):
        return [Start(start.ready_seconds) for start in result.starts if start.ready_seconds is not None]
    if isinstance(result, BakeResult):  # the first compiled: so long takes a start that misses its caches
        return [Start(start.warm_seconds, start.warmup_seconds) for start in result.starts]
    return []


def _steady(result: Result) -> list[float]:
    strata = result.strata if isinstance(result, WarmupReport) else ()
    return [s.steady_ms for s in strata if s.steady_ms is not None]


def budget(of: Measured, margin: float, max_seconds: float | None = None) -> Budget:
    """Return what a start is given: p99 times ``margin``, and never less than the warm-up's own limit needs.

    A warm-up that is cut off by a probe is lost, and the next is no quicker: its own limit, ``max_seconds``, has to
    come first. None is a server whose warm-up has none.

    Raises:
        WarmupError: the margin or the limit cannot be.
    """
    if not 1 <= margin <= 100:  # noqa: PLR2004  (what is more is a mistake)
        raise WarmupError(f"--margin {margin:g}: give a factor from 1 to 100, such as 2")
    if max_seconds is not None and not 0 < max_seconds <= MOST_SECONDS:
        raise WarmupError(f"--max-seconds {max_seconds:g}: give seconds above 0, and no more than a day")
    wanted = of.p99 * margin
    told = f"{of.told} times {margin:g}"
    loads = [s.seconds - (s.warmup_seconds or 0.0) for s in of.starts]  # where it is not known, all may have been load
    if max_seconds is not None and (floor := max(0.0, *loads) * margin + max_seconds) > wanted:
        wanted = floor
        told = f"{told}, but not before the warm-up's own limit of {max_seconds:g} s after a load that is as slow"
    period = min(LONGEST_PERIOD, max(1, round(of.p99 / QUESTIONS)))
    whole = math.ceil(max(wanted, LEAST) / period) * period
    return Budget(whole, period, f"{told} = {whole} s" if wanted >= LEAST else f"{told}, at least {LEAST} s")
