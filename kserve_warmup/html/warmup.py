"""The warm-up report as a page: what was warmed, how soon it was steady, and what did not get there and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kserve_warmup.errors import WarmupError
from kserve_warmup.figures import count, duration, share, state, steps, stratum, times, why
from kserve_warmup.html.chart import Bar, Chart, Curve, Value, coverage_chart, latency_chart, row_chart, timeline_chart
from kserve_warmup.html.compare import Comparison, compare
from kserve_warmup.html.page import render
from kserve_warmup.report import StratumReport, WarmupReport

BAND = 0.10
"""The default of ``WarmupSettings.tolerance``, for reports that do not tell theirs."""

ELSEWHERE = "what the server said is in the JSON report, since it may quote the request"

_SAFE = re.compile(
    r"not reached: the budget \(max_seconds\) was spent$|"
    r"(sample [0-9a-f]+: )?(HTTP \d{3}|gRPC [A-Z_]+|no answer within [\d.e+]+ s|\w*(Error|Exception|Timeout))(?=: |$)"
)
"""What transports put before a server's or a model's own words."""


@dataclass(frozen=True, slots=True)
class Section:
    """One report on the page; a chart is None where there is nothing to draw.

    ``problems`` are names and reasons: what is not steady, what failed and what was refused.
    """

    report: WarmupReport
    label: str
    coverage: Chart | None
    timeline: Chart | None
    first: Chart | None
    charts: tuple[Chart, ...]
    problems: tuple[tuple[str, str], ...]


def render_report(*reports: WarmupReport, labels: Sequence[str] = ()) -> str:
    """Return one self-contained HTML page about one or more warm-ups; those of the same model are compared.

    Args:
        reports: The reports, earlier ones first.
        labels: What to call each, such as ``before`` and ``after``; numbers when left out.

    Raises:
        WarmupError: There is no report, or there are more of one model than can be told apart.
    """
    if not reports:
        msg = "no warm-up report to show: pass at least one WarmupReport"
        raise WarmupError(msg)
    names = list(labels) or [f"report {n}" for n in range(1, len(reports) + 1)]
    comparisons = _comparisons(list(zip(names, reports, strict=True)))
    several = bool(labels) or len(reports) > len({r.model for r in reports})
    sections = [section(r, name if several else "") for name, r in zip(names, reports, strict=True)]
    title = "Warm-up of " + ", ".join(dict.fromkeys(r.model for r in reports))
    return render("warmup.html.j2", title=title, verdict=_verdict(reports), comparisons=comparisons, sections=sections)


def section(report: WarmupReport, label: str = "") -> Section:
    """Return what a page shows of ``report``; the demo's page shows it too."""
    shown = _without_payload(report)
    band = BAND if report.tolerance is None else report.tolerance
    charts = tuple(_chart(s, band) for s in shown.strata if s.latencies_ms)
    problems = tuple((stratum(s), why(s)) for s in shown.strata if not s.converged or s.failures or s.refused)
    return Section(shown, label, _coverage(shown), _timeline(shown), _first(shown), charts, problems)


def _without_payload(report: WarmupReport) -> WarmupReport:
    """Return ``report`` as it may be shown around: of an error only its kind, since servers quote requests."""
    return replace(report, strata=tuple(replace(s, error=_kind(s.error)) for s in report.strata))


def _kind(error: str | None) -> str | None:
    if error is None:
        return None
    found = _SAFE.match(error)
    if found is None:
        return ELSEWHERE
    return found[0] if found[0] == error else f"{found[0]}; {ELSEWHERE}"


def _comparisons(reports: list[tuple[str, WarmupReport]]) -> list[Comparison]:
    models: dict[str, list[tuple[str, WarmupReport]]] = {}
    for name, report in reports:
        models.setdefault(report.model, []).append((name, report))
    return [compare(model, found) for model, found in models.items() if len(found) > 1]


def _verdict(reports: tuple[WarmupReport, ...]) -> str:
    if len(reports) == 1:
        (report,) = reports
        spent = f"{count(report.calls, 'call')} in {duration(1000 * report.seconds)}"
        return f"{report.model}: {state(report)} after {spent}"
    steady = sum(state(r) == "steady" for r in reports)
    return f"{steady} of {len(reports)} warm-ups steady" if steady < len(reports) else f"All {steady} warm-ups steady"


def _chart(s: StratumReport, tolerance: float) -> Chart:
    first, calls = s.latencies_ms[0], len(s.latencies_ms)
    words = f"{count(calls, 'answered call')}. The first took {duration(first)}."
    steady = s.steady_ms if s.converged else None
    if steady is not None:
        words += f" Steady at {duration(steady)}, declared after call {calls:,}; the band is ±{tolerance:.0%}."
    else:
        words += f" The last took {duration(s.latencies_ms[-1])}; not steady."
    if s.changes:
        words += f" The transport changed after call {', '.join(f'{n:,}' for n in s.changes)}."
    band = (steady * (1 - tolerance), steady * (1 + tolerance)) if steady else None
    curve = Curve("calls", s.latencies_ms, dotted=True, name=s.protocol)
    return latency_chart(stratum(s), words, [curve], band=band, changes=s.changes)


def _coverage(report: WarmupReport) -> Chart | None:
    if not report.strata:
        return None
    failed = sum(s.share for s in report.strata if not s.warmed and not s.left_out)
    rest = 1 - report.coverage - report.unsteady - report.refused_share - failed
    parts = [
        ("steady", "good", report.coverage),
        ("sent, not steady", "warm", report.unsteady),
        ("refused by the model", "s3", report.refused_share),
        ("not warmed", "bad", failed),
        ("in no sample", "quiet", rest),
    ]
    parts = [part for part in parts if part[2] > 1e-9]  # noqa: PLR2004  rounding of sums
    words = ", ".join(f"{name} {share(part)}" for name, _, part in parts) + " of the traffic."
    return coverage_chart("What became of the traffic", words, parts)


def _timeline(report: WarmupReport) -> Chart | None:
    if not report.timeline:
        return None
    bars = [
        Bar(
            name,
            "warm" if "warm-up" in name else "cold",
            tuple((s.start, s.end) for s in report.timeline if s.name == name),
        )
        for name in report.step_seconds
    ]
    return timeline_chart("From process start to ready", f"{steps(report)}.", bars, report.ready_seconds)


def _first(report: WarmupReport) -> Chart | None:
    rows = [
        (
            stratum(s),
            (
                Value("cold", "first call, cold", s.first_ms, duration(s.first_ms)),
                Value("warm", "when the warm-up ended", s.steady_ms, duration(s.steady_ms)),
            ),
        )
        for s in report.strata
        if s.first_ms is not None and s.steady_ms
    ]
    if not rows:
        return None
    words = "; ".join(
        f"{name}: {cold.text} cold, {warm.text} warm, {times(cold.value / warm.value)}" for name, (cold, warm) in rows
    )
    return row_chart("The first call, cold, and the steady latency", words + ".", rows)
