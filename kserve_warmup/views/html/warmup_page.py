"""The warm-up report as a page: what was warmed, how soon it was steady, and what did not get there and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from kserve_warmup.report import StratumReport, WarmupReport
from kserve_warmup.views.figures import count, duration, share, state, steps, stratum, times, why
from kserve_warmup.views.html.chart import Chart, Curve, Value, coverage_chart, latency_chart, row_chart, timeline_chart
from kserve_warmup.views.html.compare import compare
from kserve_warmup.views.html.learned import caches_view, profile_view
from kserve_warmup.views.html.page import part

BAND = 0.10
"""The default of ``WarmupSettings.tolerance``, for reports that do not tell theirs."""

ELSEWHERE = "what the server said is in the JSON report, since it may quote the request"

_SAFE = re.compile(
    r"not reached: the budget \(max_seconds\) was spent$|"
    r"(sample [0-9a-f]+: )?(HTTP \d{3}|gRPC [A-Z_]+|no answer within [\d.e+]+ s|\w*(Error|Exception|Timeout))(?=: |$)"
)
"""What transports put before a server's or a model's own words."""


def warmups_part(labelled: Sequence[tuple[str, WarmupReport]], *, several: bool) -> str:
    """Return the part of a page about warm-ups, those of one model compared; ``several`` have their labels shown."""
    models: dict[str, list[tuple[str, WarmupReport]]] = {}
    for name, report in labelled:
        models.setdefault(report.model, []).append((name, report))
    several = several or len(labelled) > len(models)
    return part(
        "warmup.html.j2",
        verdict=_verdict([report for _, report in labelled]),
        comparisons=[compare(model, found) for model, found in models.items() if len(found) > 1],
        sections=[section(report, name if several else "") for name, report in labelled],
    )


def section(report: WarmupReport, label: str = "") -> dict[str, Any]:
    """Return what ``strata.html.j2`` shows of a report; a chart is None where there is nothing to draw."""
    shown = _without_payload(report)
    band = BAND if report.tolerance is None else report.tolerance
    return {
        "report": shown,
        "label": label,
        "coverage": _coverage(shown),
        "timeline": _timeline(shown),
        "first": _first(shown),
        "charts": [_chart(s, band) for s in shown.strata if s.latencies_ms],
        "caches": caches_view(shown.cache, shown.cache_note),
        "profile": profile_view(shown.profile),
        "problems": [(stratum(s), why(s)) for s in shown.strata if not s.converged or s.failures or s.refused],
    }


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


def _verdict(reports: Sequence[WarmupReport]) -> str:
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
    if each := s.per_token_ms:
        later = duration(median(each[len(each) // 2 :]))
        words += f" Until the first token, that is; each further one took {duration(each[0])} at first, {later} later."
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
        (name, "warm" if "warm-up" in name else "cold", [(s.start, s.end) for s in report.timeline if s.name == name])
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
