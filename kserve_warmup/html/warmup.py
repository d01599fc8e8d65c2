"""The warm-up report as a page: what was warmed, how soon it was steady, and what did not get there and why."""

from __future__ import annotations

from dataclasses import dataclass

from kserve_warmup.errors import WarmupError
from kserve_warmup.figures import count, duration, state, stratum, why
from kserve_warmup.html.chart import Chart, Curve, latency_chart
from kserve_warmup.html.page import render
from kserve_warmup.report import StratumReport, WarmupReport

BAND = 0.10
"""Steady means within this share of the plateau: the default of ``WarmupSettings.tolerance``."""


@dataclass(frozen=True, slots=True)
class Section:
    """One report on the page: the report, a chart for each stratum that was answered, and what is not steady."""

    report: WarmupReport
    charts: tuple[Chart, ...]
    unsteady: tuple[tuple[str, str], ...]


def render_report(*reports: WarmupReport) -> str:
    """Return one self-contained HTML page about the warm-up of one or more models or transports.

    Raises:
        WarmupError: There is no report.
    """
    if not reports:
        msg = "no warm-up report to show: pass at least one WarmupReport"
        raise WarmupError(msg)
    title = "Warm-up of " + ", ".join(dict.fromkeys(r.model for r in reports))
    return render("warmup.html.j2", title=title, verdict=_verdict(reports), sections=[section(r) for r in reports])


def section(report: WarmupReport) -> Section:
    """Return what a page shows of ``report``; the demo's page shows it too."""
    charts = tuple(_chart(s) for s in report.strata if s.latencies_ms)
    return Section(report, charts, tuple((stratum(s), why(s)) for s in report.strata if not s.converged))


def _verdict(reports: tuple[WarmupReport, ...]) -> str:
    if len(reports) == 1:
        (report,) = reports
        spent = f"{count(report.calls, 'call')} in {duration(1000 * report.seconds)}"
        return f"{report.model}: {state(report)} after {spent}"
    steady = sum(state(r) == "steady" for r in reports)
    return f"{steady} of {len(reports)} warm-ups steady" if steady < len(reports) else f"All {steady} warm-ups steady"


def _chart(s: StratumReport) -> Chart:
    first, calls = s.latencies_ms[0], len(s.latencies_ms)
    words = f"{count(calls, 'answered call')}. The first took {duration(first)}."
    steady = s.steady_ms if s.converged else None
    if steady is not None:
        words += f" Steady at {duration(steady)}, declared after call {calls:,}; the band is ±{BAND:.0%}."
    else:
        words += f" The last took {duration(s.latencies_ms[-1])}; not steady."
    if s.changes:
        words += f" The transport changed after call {', '.join(f'{n:,}' for n in s.changes)}."
    band = (steady * (1 - BAND), steady * (1 + BAND)) if steady else None
    return latency_chart(stratum(s), words, [Curve("calls", s.latencies_ms, dotted=True)], band=band, changes=s.changes)
