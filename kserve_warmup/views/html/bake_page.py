"""A bake's result as a part of a page: what a start from it saves, and what each framework's cache gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kserve_warmup.caches.bake_result import BakedStart, BakeResult
from kserve_warmup.views.figures import NOTHING, count, duration, times
from kserve_warmup.views.html.chart import Chart, Value, row_chart
from kserve_warmup.views.html.learned import caches_view
from kserve_warmup.views.html.page import part

LEARNT, PROVED = "first start, which compiles", "start from what was baked"


def bake_part(result: BakeResult, label: str, name: str) -> str:
    """Return the part of a page about a bake; ``name`` begins the names of its places."""
    first, later = result.starts[0], result.starts[-1]
    return part(
        "bake.html.j2",
        id=name,
        label=label,
        heading=heading(result),
        result=result,
        first=first,
        later=later,
        caches=caches_view(later.cache, later.note),
        said=result.lines()[1:] if first.outside else result.unsteady(),
        overview=_overview(first, later),
        starts=_starts(result.starts),
    )


def heading(result: BakeResult) -> str:
    """Return what a bake gained, in a line."""
    if not result.files:
        return "Nothing was baked: no framework kept anything"
    first, later = result.starts[0], result.starts[-1]
    what = "warm" if first.outside else "ready"
    return f"Baked: {what} after {_seconds(later.warm_seconds)} instead of {_seconds(first.warm_seconds)}"


def bakes_compared(labelled: Sequence[tuple[str, BakeResult]]) -> list[str]:
    """Return the part about several bakes side by side; none if there is but one."""
    if len(labelled) < 2:  # noqa: PLR2004  nothing to compare
        return []
    bakes = [
        {
            "name": name,
            "result": result,
            "first": result.starts[0],
            "later": result.starts[-1],
            "caches": caches_view(result.starts[-1].cache, result.starts[-1].note),
        }
        for name, result in labelled
    ]
    return [part("bakes.html.j2", bakes=bakes, id="compared-bake")]


def _starts(starts: Sequence[BakedStart]) -> list[dict[str, Any]]:
    names = ["1, compiles", *(f"{n}, proves" for n in range(2, len(starts) + 1))]
    return [
        {"name": name, "start": start, "caches": caches_view(start.cache, start.note), "gave": _written(start)}
        for name, start in zip(names, starts, strict=True)
    ]


def _written(start: BakedStart) -> str:
    """Return what is known of a start that was seen from outside, where nobody counts hits."""
    return NOTHING if start.written is None else f"{count(start.written, 'file')} written anew"


def _overview(first: BakedStart, later: BakedStart) -> Chart:
    rows = [
        (
            what,
            (
                Value("cold", LEARNT, 1000 * before, _seconds(before)),
                Value("warm", PROVED, 1000 * after, _seconds(after)),
            ),
        )
        for what, before, after in (
            ("process start to warm", first.warm_seconds, later.warm_seconds),
            ("warm-up", first.warmup_seconds, later.warmup_seconds),
        )
    ]
    words = "; ".join(
        f"{what}: {cold.text} at first, {warm.text} from what was baked"
        + (f", {times(cold.value / warm.value)} as fast" if warm.value else "")
        for what, (cold, warm) in rows
    )
    return row_chart("A start that compiles, and one from what was baked", words + ".", rows)


def _seconds(seconds: float) -> str:
    return duration(1000 * seconds)
