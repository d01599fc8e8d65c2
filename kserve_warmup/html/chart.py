"""Latencies as the shapes of a chart: positions, ticks and paths, drawn by ``templates/charts.svg.j2``.

Why not a plotting library: plotly and Vega ship megabytes of JavaScript a page, uPlot draws on a canvas, which a screen
reader cannot see and a style sheet cannot turn dark; pygal writes a script into every chart, and its logarithmic
scale takes the x axis along; svg.py does not escape text; matplotlib adds 60 MB to a serving image. What is left is
two scales, which are below, and elements, which Jinja2 writes and escapes.

Positions are percentages, so that a chart fills a phone and a desk alike while its text keeps its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from kserve_warmup.figures import duration, times

LEAST_SPAN = 10.0
"""The y axis covers at least this factor, so that noise of a few percent looks like what it is."""

FLOOR_MS = 1e-3
"""A microsecond: nothing quicker is drawn, and a logarithmic scale has no zero."""

MOST_TICKS = 6


@dataclass(frozen=True, slots=True)
class Tick:
    """A grid line: its position in percent of the plot and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Point:
    """A position in percent of the plot, from its left and top."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Curve:
    """Latencies in milliseconds, in the order of the calls; ``kind`` is the CSS class: cold, warm or calls.

    A dotted curve has a dot for each call and no line: hundreds of calls with spikes would make a black area.
    """

    kind: str
    latencies_ms: tuple[float, ...]
    dotted: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A drawn curve: an SVG path in a plot of 1000 by 1000, and where its first and last call are."""

    kind: str
    dotted: bool
    path: str
    first: Point
    last: Point


@dataclass(frozen=True, slots=True)
class Band:
    """What counts as steady, in percent of the plot: from ``left`` to the last call."""

    left: float
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A latency chart, ready to draw. ``description`` says in words what the eye would see."""

    title: str
    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    changes: tuple[float, ...]
    band: Band | None


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

    def at(self, value: float) -> float:
        """Return the position of ``value`` in percent from ``low``."""
        return 100 * log10(max(value, FLOOR_MS) / self.low) / log10(self.high / self.low)

    def ticks(self) -> list[float]:
        """Return round values inside the scale: 1, 2 and 5 of every decade, or decades when those are too many."""
        decades = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        fine = [m * 10.0**d for d in decades for m in (1, 2, 5) if self.low <= m * 10.0**d <= self.high]
        if len(fine) <= MOST_TICKS:
            return fine
        whole = [10.0**d for d in decades if self.low <= 10.0**d <= self.high]
        return whole[:: ceil(len(whole) / MOST_TICKS)]


def latency_chart(
    title: str,
    description: str,
    curves: Sequence[Curve],
    *,
    band: tuple[float, float] | None = None,
    changes: Sequence[int] = (),
    scale: LogScale | None = None,
) -> Chart:
    """Lay out curves over the number of the call, on a logarithmic latency axis.

    Args:
        title: The chart's accessible name.
        description: What the chart shows, in words and figures.
        curves: At least one curve of at least one call.
        band: Lowest and highest latency (ms) that counts as steady.
        changes: How many calls came before each change of what was called; the band begins after the last.
        scale: The latency axis; by default the one that fits the curves. Charts to be compared share one.
    """
    y = scale or LogScale.around([v for c in curves for v in c.latencies_ms] + list(band or ()))
    calls = max(len(c.latencies_ms) for c in curves)
    between = tuple(_across(n + 0.5, calls) for n in changes)
    return Chart(
        title,
        description,
        tuple(Tick(_across(n, calls), "call 1" if n == 1 else f"{n:,}") for n in _call_ticks(calls)),
        tuple(Tick(100 - y.at(v), duration(v)) for v in y.ticks()),
        tuple(_line(c, y, calls) for c in curves),
        between,
        _band(band, y, left=max(between, default=0.0)) if band else None,
    )


@dataclass(frozen=True, slots=True)
class Dumbbell:
    """One row of a comparison: two ratios on a common scale, in percent from the left."""

    label: str
    cold: float
    warm: float
    cold_text: str
    warm_text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Cold against warm on a logarithmic axis of ratios; ``one`` is where first and steady are equal."""

    title: str
    description: str
    ticks: tuple[Tick, ...]
    one: float
    rows: tuple[Dumbbell, ...]


def comparison(title: str, description: str, rows: Sequence[tuple[str, float, float]]) -> Comparison:
    """Lay out rows of label, cold ratio and warm ratio."""
    scale = LogScale.around([1.0, *(r for _, *pair in rows for r in pair)])
    drawn = tuple(Dumbbell(n, scale.at(cold), scale.at(warm), times(cold), times(warm)) for n, cold, warm in rows)
    ticks = tuple(Tick(scale.at(v), times(v)) for v in scale.ticks())
    return Comparison(title, description, ticks, scale.at(1.0), drawn)


def _line(curve: Curve, y: LogScale, calls: int) -> Line:
    points = [Point(_across(n, calls), 100 - y.at(v)) for n, v in enumerate(curve.latencies_ms, start=1)]
    places = [f"{10 * p.x:.1f} {10 * p.y:.1f}" for p in points]
    # A line of no length with a round end is a dot, whose size does not depend on how the plot is stretched.
    path = "".join(f"M{place}h0" for place in places) if curve.dotted else "M" + "L".join(places)
    return Line(curve.kind, curve.dotted, path, points[0], points[-1])


def _band(band: tuple[float, float], y: LogScale, left: float) -> Band:
    low, high = (100 - y.at(v) for v in band)
    return Band(left, high, low - high)


def _across(call: float, calls: int) -> float:
    return 100 * (call - 1) / max(1, calls - 1)


def _call_ticks(calls: int) -> list[int]:
    """Return the first call and round numbers up to the last."""
    most = 5
    step = next(m * 10**d for d in range(9) for m in (1, 2, 5) if calls / (m * 10**d) <= most)
    return [1, *range(max(2, step), calls + 1, step)]
