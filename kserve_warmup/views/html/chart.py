"""What the page's charts show: plain data, which ``templates/charts.js`` draws with Observable Plot.

Observable Plot draws SVG: its text is text to a screen reader and a search, and its colours are the style sheet's, so
dark mode and print need no second drawing. With d3 it adds half a megabyte to a page; plotly and Vega add more, uPlot
(50 kB) and Chart.js draw on a canvas, which has no text and keeps its colours. matplotlib and vl-convert would draw
without a script, for 60 and 30 MB in every serving image.

Scales, ticks and texts are made here, where the terminal's figures are made too, and are tested without a browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from kserve_warmup.views.figures import duration, share

LEAST_SPAN = 10.0
"""A latency axis covers at least this factor, so that noise of a few percent looks like what it is."""

FLOOR_MS = 1e-3
"""A microsecond: nothing quicker is drawn, and a logarithmic scale has no zero."""

MOST_TICKS = 6

Chart = dict[str, Any]
"""What the script draws, JSON-compatible; ``description`` says it in words and figures."""

DIGITS = 4
"""Significant digits of a drawn latency: more cannot be seen, and a page has thousands."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Latencies in milliseconds, in the order of the calls.

    ``kind`` is a colour of the style sheet (``cold``, ``warm``, ``calls``, ``s0`` to ``s5``), ``name`` what a person
    calls the curve. A dotted curve has a dot for each call and no line: hundreds of calls with spikes would make a
    black area.
    """

    kind: str
    latencies_ms: tuple[float, ...]
    dotted: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class LogScale:
    """A logarithmic scale from ``low`` to ``high``."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float], least_span: float = LEAST_SPAN) -> LogScale:
        """Return the scale that shows all ``values``, with some air above and below."""
        shown = [max(v, FLOOR_MS) for v in values]
        low, high = min(shown) / 1.25, max(shown) * 1.25
        spare = max(1.0, least_span / (high / low)) ** 0.5
        return cls(low / spare, high * spare)

    def ticks(self) -> list[float]:
        """Return round values inside the scale: 1, 2 and 5 of every decade, or decades when those are too many."""
        decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        fine = [m * 10.0**d for d in decades for m in (1, 2, 5) if self.low <= m * 10.0**d <= self.high]
        if len(fine) <= MOST_TICKS:
            return fine
        whole = [10.0**d for d in decades if self.low <= 10.0**d <= self.high]
        return whole[:: ceil(len(whole) / MOST_TICKS)]

    def axis(self, text: Any) -> dict[str, Any]:
        """Return the scale for a chart, its ticks written by ``text``."""
        return {"domain": [self.low, self.high], "ticks": [[v, text(v)] for v in self.ticks()]}


def latency_chart(
    title: str,
    description: str,
    curves: Sequence[Curve],
    *,
    band: tuple[float, float] | None = None,
    changes: Sequence[int] = (),
    scale: LogScale | None = None,
) -> Chart:
    """Return the curves over the number of the call, on a logarithmic latency axis.

    Args:
        title: The chart's accessible name.
        description: What the chart shows, in words and figures.
        curves: At least one curve of at least one call.
        band: Lowest and highest latency (ms) that counts as steady, which was declared at the last call.
        changes: How many calls came before each change of what was called; the band begins after the last.
        scale: The latency axis; by default the one that fits the curves. Charts to be compared share one.
    """
    y = scale or LogScale.around([v for c in curves for v in c.latencies_ms] + list(band or ()))
    calls = max(len(c.latencies_ms) for c in curves)
    spec: dict[str, Any] = {
        "x": {"domain": [1, max(2, calls)], "ticks": [[n, "call 1" if n == 1 else f"{n:,}"] for n in _round(calls)]},
        "y": y.axis(duration),
        "series": [_series(curve) for curve in curves],
        "changes": [n + 0.5 for n in changes],
        "band": None,
        "declared": None,
    }
    if band:
        begin = max(spec["changes"], default=1)
        spec["band"] = {"from": begin, "to": max(2, calls), "low": band[0], "high": band[1]}
        spec["declared"] = {"call": calls, "ms": sum(band) / 2}
    return _chart("latency", title, description, spec)


@dataclass(frozen=True, slots=True)
class Value:
    """A point in a row: ``kind`` is its colour, ``name`` what it is, ``text`` its figure."""

    kind: str
    name: str
    value: float
    text: str


def row_chart(
    title: str, description: str, rows: Sequence[tuple[str, Sequence[Value]]], *, ratios: Any = None
) -> Chart:
    """Return rows of a label and some values each, on a common logarithmic axis.

    Args:
        title: The chart's accessible name.
        description: What the chart shows, in words and figures.
        rows: At least one; each has at least one value.
        ratios: Writes a ratio, when the values are ratios and 1 is drawn; without it they are latencies (ms).
    """
    found = [v.value for _, values in rows for v in values]
    scale = LogScale.around([1.0, *found] if ratios else found)
    drawn = [
        {
            "label": f"{label}  {' → '.join(v.text for v in values)}",
            "values": [
                {"kind": v.kind, "value": max(v.value, FLOOR_MS), "text": f"{label}, {v.name}: {v.text}"}
                for v in values
            ],
        }
        for label, values in rows
    ]
    return _chart(
        "ratios", title, description, {"rows": drawn, "one": bool(ratios), "x": scale.axis(ratios or duration)}
    )


def timeline_chart(
    title: str, description: str, bars: Sequence[tuple[str, str, Sequence[tuple[float, float]]]], ready: float | None
) -> Chart:
    """Return bars over seconds, and a line where the model was ready.

    A bar is a label, a colour, and when each of its spans began and ended.
    """
    end = max([ready or 0.0, *(end for _, _, spans in bars for _, end in spans)]) or 1.0
    step = next(m * 10.0**d for d in range(-3, 9) for m in (1, 2, 5) if end / (m * 10.0**d) <= MOST_TICKS - 1)
    ticks = [n * step for n in range(floor(end / step) + 1)]
    rows = [
        {
            "label": f"{label}  {duration(1000 * sum(end - start for start, end in spans))}",
            "kind": kind,
            "bars": [{"start": round(start, 3), "end": round(end, 3)} for start, end in spans],
        }
        for label, kind, spans in bars
    ]
    x = {"domain": [0, end], "ticks": [[t, f"{t:.3g} s"] for t in ticks]}
    return _chart("timeline", title, description, {"rows": rows, "ready": ready, "x": x})


def coverage_chart(title: str, description: str, parts: Sequence[tuple[str, str, float]]) -> Chart:
    """Return shares of the traffic as one bar; a part is its name, its colour and its share (0 to 1)."""
    drawn = [{"kind": kind, "share": part, "text": f"{name}: {share(part)}"} for name, kind, part in parts]
    return _chart("coverage", title, description, {"parts": drawn})


def _chart(kind: str, title: str, description: str, spec: dict[str, Any]) -> Chart:
    return {"kind": kind, "title": title, "description": description, **spec}


def _series(curve: Curve) -> dict[str, Any]:
    values = [float(f"{max(v, FLOOR_MS):.{DIGITS}g}") for v in curve.latencies_ms]
    return {"kind": curve.kind, "name": curve.name or curve.kind, "dots": curve.dotted, "values": values}


def _round(calls: int) -> list[int]:
    """Return the first call and round numbers up to the last."""
    most = MOST_TICKS - 1
    step = next(m * 10**d for d in range(9) for m in (1, 2, 5) if calls / (m * 10**d) <= most)
    return [1, *range(max(2, step), calls + 1, step)]
