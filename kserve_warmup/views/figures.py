"""How a latency, a share or a stratum is written, the same in the terminal and on the page."""

from __future__ import annotations

from math import floor, log10

from kserve_warmup.report import StratumReport, WarmupReport

NOTHING = "\N{EN DASH}"
"""Stands where there is no figure: a stratum none of whose requests succeeded."""


TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float | None, decimals: int = 2) -> str:
    """Return a figure for a column, with a fixed number of decimals so that the points of a column stand in line."""
    return NOTHING if value is None else f"{value:,.{decimals}f}"


def ratio(first_ms: float | None, steady_ms: float | None) -> float | None:
    """Return first divided by steady, or None when either is missing or steady is nothing."""
    return first_ms / steady_ms if first_ms is not None and steady_ms else None


def times(value: float) -> str:
    """Return a ratio for running text: 0.92, 1.04, 42.5 or 2,310 times; more digits than these are noise."""
    return f"{_significant(value, decimals=2)}{TIMES}"


def duration(ms: float) -> str:
    """Return a latency for running text with three significant digits: ``41.2 µs``, ``3.2 ms``, ``1.5 s``."""
    unit, scale = ("s", 1e3) if ms >= 1000 else ("ms", 1.0) if ms >= 1 else ("µs", 1e-3)  # noqa: PLR2004 ms in a second
    return f"{_significant(ms / scale)} {unit}"


def share(value: float) -> str:
    """Return a share (0 to 1) in percent; a share that is neither nothing nor all is never rounded to look so."""
    if 0 < value < 0.001:  # noqa: PLR2004 one decimal is shown
        return "<0.1%"
    if 0.999 < value < 1 - 1e-9:  # noqa: PLR2004 sums of shares miss 1 by rounding
        return ">99.9%"
    return f"{100 * value:.1f}%".replace(".0%", "%")


def count(value: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: ``1 call``, ``1,200 calls``, ``2 strata``."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def stratum(s: StratumReport) -> str:
    """Return what a person calls a stratum: protocol, signature, what else tells its requests apart, and batch size."""
    return f"{s.name} {TIMES} {s.batch}"


def state(report: WarmupReport) -> str:
    """Return ``steady``, ``not steady`` or, when there was no sample that the model takes, ``nothing warmed``.

    What the model refuses is left out: :func:`traffic` says how much that is.
    """
    if len(report.refused) == len(report.strata):
        return "nothing warmed"
    return "not steady" if report.moving else "steady"


def traffic(report: WarmupReport) -> str:
    """Return what became of the traffic: ``81% of the traffic warm, 15.3% sent but not steady, 3.7% refused``."""
    words = f"{share(report.coverage)} of the traffic warm"
    if report.unsteady:
        words += f", {share(report.unsteady)} sent but not steady"
    return f"{words}, {share(report.refused_share)} refused by the model" if report.refused else words


def steps(report: WarmupReport) -> str:
    """Return the steps to ready with the time of each: ``import 1.93 s, load 650 ms; ready after 3.1 s``."""
    words = ", ".join(f"{name} {duration(1000 * spent)}" for name, spent in report.step_seconds.items())
    return words if report.ready_seconds is None else f"{words}; ready after {duration(1000 * report.ready_seconds)}"


def caches(report: WarmupReport) -> list[str]:
    """Return what compile caches gave, a line for all and one for each framework that has a note."""
    lines = [f"cache: {report.cache_summary}"] if report.cache_summary else []
    return lines + [f"{one.framework}: {one.note}" for one in report.cache if one.note]


def learned(report: WarmupReport) -> list[str]:
    """Return what the profile of earlier starts did, a line; none if there is nothing to say."""
    said = report.profile.summary() if report.profile else ""
    return [f"profile: {said}"] if said else []


def why(s: StratumReport) -> str:
    """Return in one sentence why a stratum is not steady, or what of it failed although it is."""
    error = f": {s.error}" if s.error else ""
    failed = [f"{s.failures:,} of {count(s.calls, 'request')} failed"] if s.failures else []
    refused = [f"the model refused {s.refused:,} of {count(s.calls, 'request')}"] if s.refused else []
    problems = ", ".join(failed + refused) + error
    if s.converged:
        return f"Steady; {problems}" if problems else "Steady"
    if s.calls == 0:
        return "Not reached: the warm-up ended before its turn"
    if s.left_out:
        return f"Left out: {problems}"
    if not s.warmed:
        return f"No answer: {problems}"
    if failed or refused:
        return f"Not settled after {count(s.calls, 'call')}: {problems}"
    return f"Still moving after {count(s.calls, 'call')}, when its calls or the time ran out"


def _significant(value: float, decimals: int = 9) -> str:
    if value <= 0:
        return f"{value:g}"
    text = f"{value:,.{min(decimals, max(0, 2 - floor(log10(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
