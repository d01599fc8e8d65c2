"""Results of one kind side by side, earlier ones first: what changed from before to after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.errors import WarmupError
from kserve_warmup.report import WarmupReport
from kserve_warmup.verify.verify_result import Verification
from kserve_warmup.views.figures import count, duration, ratio, stratum, times
from kserve_warmup.views.html.chart import Chart, Curve, LogScale, Value, latency_chart, row_chart
from kserve_warmup.views.html.learned import compared

KINDS = ("s0", "s1", "s2", "s3", "s4", "s5")
"""A colour and a mark for each result."""

Compared: TypeAlias = WarmupReport | Verification | DemoResult
Labelled = tuple[str, Compared]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one result says of a row; ``steady_ms`` is None with a ``problem``, which says why."""

    first_ms: float | None
    steady_ms: float | None
    calls: int
    latencies_ms: tuple[float, ...] = ()
    problem: str = ""


Row = tuple[str, tuple[Cell | None, ...]]
"""A stratum, or what else is compared, with what each result says of it; None where it has no such row."""


def compare(title: str, results: Sequence[Labelled]) -> dict[str, Any]:
    """Return what ``compare.html.j2`` shows of two or more results of one kind; warm-up reports are of one model.

    Raises:
        WarmupError: There are more results than colours and marks.
    """
    if len(results) > len(KINDS):
        raise WarmupError(
            f"{len(results)} reports of {title} are too many to tell apart in a chart: give at most {len(KINDS)}"
        )
    names = tuple(name for name, _ in results)
    found = [_cells(result) for _, result in results]
    rows = [(name, tuple(f.get(name) for f in found)) for name in dict.fromkeys(n for f in found for n in f)]
    warmups = tuple((name, result) for name, result in results if isinstance(result, WarmupReport))
    overviews: tuple[Chart | None, ...]
    if warmups:
        overviews = (
            _overview("The first call", rows, names, lambda c: c.first_ms, duration),
            _overview("The steady latency", rows, names, lambda c: c.steady_ms, duration),
        )
    else:
        overviews = (_overview("First ÷ steady", rows, names, lambda c: ratio(c.first_ms, c.steady_ms), times),)
    return {
        "title": title,
        "names": names,
        "kinds": KINDS[: len(results)],
        "warmups": warmups,
        "learned": compared([report for _, report in warmups]),
        "steps": list(dict.fromkeys(step for _, report in warmups for step in report.step_seconds)),
        "rows": [{"name": name, "cells": cells, "change": _change(cells)} for name, cells in rows],
        "overviews": [chart for chart in overviews if chart],
        "charts": [chart for chart in (_overlay(*row, names) for row in rows) if chart],
    }


def _cells(result: Compared) -> dict[str, Cell]:
    if isinstance(result, WarmupReport):
        return {
            stratum(s): Cell(
                s.first_ms,
                s.steady_ms if s.converged else None,
                s.calls,
                s.latencies_ms,
                "" if s.converged else "refused" if s.left_out else "not steady",
            )
            for s in result.strata
        }
    if isinstance(result, Verification):
        return {
            row.name: Cell(j.first_ms, j.steady_ms, sum(len(s.latencies_ms) for s in row.series))
            for row in result.rows
            for j in (row.judgement,)
        }
    return {
        f"{c.model} · {c.server}, {c.scenario}": Cell(
            c.first_ms, c.steady_ms, sum(len(s.latencies_ms) for s in c.starts)
        )
        for c in result.cells
    }


def _change(cells: Sequence[Cell | None]) -> float | None:
    """Return the last result's steady latency as a ratio to the first's, or None when either is missing."""
    before, after = (cell.steady_ms if cell else None for cell in (cells[0], cells[-1]))
    return after / before if before and after else None


def _overview(
    title: str,
    rows: Sequence[Row],
    names: Sequence[str],
    pick: Callable[[Cell], float | None],
    text: Callable[[float], str],
) -> Chart | None:
    drawn = []
    for label, cells in rows:
        picked = [(k, n, pick(c)) for k, n, c in zip(KINDS, names, cells, strict=False) if c]
        values = [Value(kind, name, figure, text(figure)) for kind, name, figure in picked if figure]
        if len(values) > 1:
            drawn.append((label, values))
    if not drawn:
        return None
    words = "; ".join(f"{name}: {', '.join(f'{v.name} {v.text}' for v in values)}" for name, values in drawn)
    return row_chart(f"{title}, report by report", words + ".", drawn, ratios=None if text is duration else text)


def _overlay(label: str, cells: Sequence[Cell | None], names: Sequence[str]) -> Chart | None:
    curves = [
        Curve(kind, cell.latencies_ms, dotted=True, name=name)
        for kind, name, cell in zip(KINDS, names, cells, strict=False)
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
    return latency_chart(label, words + ".", curves, scale=scale)
