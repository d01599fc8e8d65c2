"""A verification as a page: the verdict, what every first request took, and which shapes were not warmed."""

from __future__ import annotations

from statistics import median

from kserve_warmup.verify.verify_result import Row, Verification
from kserve_warmup.views.figures import duration, times
from kserve_warmup.views.html.chart import Chart, Curve, Value, latency_chart, row_chart
from kserve_warmup.views.html.page import part

TITLES = {"pass": "Warm", "fail": "Not warm", "noisy": "No verdict"}


def verification_part(result: Verification, label: str, name: str) -> str:
    """Return the part of a page about a verification; ``name`` begins the names of its places."""
    ready = [s.ready_seconds for s in result.starts if s.ready_seconds is not None]
    return part(
        "verify.html.j2",
        id=name,
        label=label,
        heading=TITLES[result.verdict],
        result=result,
        overview=_overview(result),
        rows=[{"row": row, "why": row.why(result.max_ratio), "chart": _chart(row)} for row in result.rows],
        ready=median(ready) if ready else None,
    )


def _overview(result: Verification) -> Chart:
    rows = [
        (row.name, [Value("warm" if row.judgement.verdict == "pass" else "cold", "first ÷ steady", r, times(r))])
        for row in result.rows
        for r in (row.judgement.ratio,)
    ]
    words = "; ".join(f"{name}: {value.text}" for name, (value,) in rows)
    return row_chart("First request ÷ steady state", words + ".", rows, ratios=times)


def _chart(row: Row) -> Chart:
    j = row.judgement
    curves = [
        Curve("calls", series.latencies_ms, name=f"start {number}") for number, series in enumerate(row.series, start=1)
    ]
    words = f"First {duration(j.first_ms)}, steady {duration(j.steady_ms)}, first ÷ steady {times(j.ratio)}."
    return latency_chart(row.name, words, curves)
