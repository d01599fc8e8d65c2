"""Reports of one model side by side, earlier ones first: what changed from before to after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kserve_warmup.errors import WarmupError
from kserve_warmup.figures import count, duration, stratum
from kserve_warmup.html.chart import Chart, Curve, LogScale, Value, latency_chart, row_chart
from kserve_warmup.report import StratumReport, WarmupReport

KINDS = ("s0", "s1", "s2", "s3", "s4", "s5")
"""A colour and a mark for each report."""

Labelled = tuple[str, WarmupReport]


@dataclass(frozen=True, slots=True)
class Row:
    """A stratum, with what each report says of it; None where a report has no such stratum."""

    name: str
    cells: tuple[StratumReport | None, ...]

    @property
    def change(self) -> float | None:
        """Return the last report's steady latency as a ratio to the first's, or None when either is missing."""
        before, after = (c.steady_ms if c and c.converged else None for c in (self.cells[0], self.cells[-1]))
        return after / before if before and after else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Reports of one model; ``steps`` are the names of their timelines' steps, in order."""

    model: str
    reports: tuple[Labelled, ...]
    kinds: tuple[str, ...]
    steps: tuple[str, ...]
    rows: tuple[Row, ...]
    first: Chart | None
    steady: Chart | None
    charts: tuple[Chart, ...]


def compare(model: str, reports: Sequence[Labelled]) -> Comparison:
    """Return the comparison of two or more reports of ``model``.

    Raises:
        WarmupError: There are more reports than colours and marks.
    """
    if len(reports) > len(KINDS):
        raise WarmupError(
            f"{len(reports)} reports of {model} are too many to tell apart in a chart: give at most {len(KINDS)}"
        )
    rows = _rows(reports)
    kinds = KINDS[: len(reports)]
    names = [name for name, _ in reports]
    steps = dict.fromkeys(step for _, report in reports for step in report.step_seconds)
    first = _latencies("The first call", rows, names, lambda s: s.first_ms)
    steady = _latencies("The steady latency", rows, names, lambda s: s.steady_ms if s.converged else None)
    charts = tuple(c for c in (_overlay(row, names) for row in rows) if c)
    return Comparison(model, tuple(reports), kinds, tuple(steps), rows, first, steady, charts)


def _rows(reports: Sequence[Labelled]) -> tuple[Row, ...]:
    """Return a row for each stratum of any report, those of the first report first."""
    found = [{stratum(s): s for s in report.strata} for _, report in reports]
    names = dict.fromkeys(name for strata in found for name in strata)
    return tuple(Row(name, tuple(strata.get(name) for strata in found)) for name in names)


def _latencies(
    title: str, rows: Sequence[Row], names: Sequence[str], pick: Callable[[StratumReport], float | None]
) -> Chart | None:
    drawn = []
    for row in rows:
        picked = [(k, n, pick(c)) for k, n, c in zip(KINDS, names, row.cells, strict=False) if c]
        values = [Value(kind, name, ms, duration(ms)) for kind, name, ms in picked if ms]
        if len(values) > 1:
            drawn.append((row.name, values))
    if not drawn:
        return None
    words = "; ".join(f"{name}: {', '.join(f'{v.name} {v.text}' for v in values)}" for name, values in drawn)
    return row_chart(f"{title}, report by report", words + ".", drawn)


def _overlay(row: Row, names: Sequence[str]) -> Chart | None:
    curves = [
        Curve(kind, cell.latencies_ms, dotted=True, name=name)
        for kind, name, cell in zip(KINDS, names, row.cells, strict=False)
        if cell and cell.latencies_ms
    ]
    if len(curves) < 2:  # noqa: PLR2004  nothing to compare
        return None
    words = "; ".join(
        f"{c.name}: {count(len(c.latencies_ms), 'call')}, first {duration(c.latencies_ms[0])}, "
        f"last {duration(c.latencies_ms[-1])}"
        for c in curves
    )
    scale = LogScale.around([v for c in curves for v in c.latencies_ms])
    return latency_chart(row.name, words + ".", curves, scale=scale)
