"""Results as tables for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.markup import escape
from rich.table import Table

from kserve_warmup.caches.bake_result import BakeResult
from kserve_warmup.demo.demo_result import SCENARIOS, SERVERS, Cell, DemoResult
from kserve_warmup.printable import printable
from kserve_warmup.report import WarmupReport
from kserve_warmup.results import Result
from kserve_warmup.verify.verify_result import Verification
from kserve_warmup.views.figures import (
    NOTHING,
    caches,
    count,
    learned,
    number,
    ratio,
    share,
    state,
    steps,
    stratum,
    traffic,
    why,
)


def shown(text: object) -> str:
    """Return foreign text for a cell or a title: neither the terminal nor Rich's markup obeys anything in it."""
    return escape(printable(text))


def result_table(result: Result) -> Table:
    """Return any result's table."""
    if isinstance(result, WarmupReport):
        return report_table(result)
    if isinstance(result, BakeResult):
        return bake_table(result)
    return demo_table(result) if isinstance(result, DemoResult) else verification_table(result)


def report_table(report: WarmupReport) -> Table:
    """Return the warm-up of one model: a row for each stratum, in order of traffic share; latencies in milliseconds.

    Under the table stand the steps from process start to ready, and what is not steady or was refused, and why.
    """
    colour = "green" if state(report) == "steady" else "bold red"
    spent = f"{count(report.calls, 'call')} in {number(report.seconds)} s, {traffic(report)}"
    title = f"[bold]{shown(report.model)}[/] over {shown(report.transport)}: [{colour}]{state(report)}[/], {spent}"
    headings = ("share", "calls", "first\nms", "steady\nms", "first\n÷ steady")
    table = table_of(title, "stratum", headings, "steady")
    for s in report.strata:
        figures = (number(s.first_ms), number(s.steady_ms), number(ratio(s.first_ms, s.steady_ms)))
        steady = "[green]yes[/]" if s.converged else "[red]refused[/]" if s.left_out else "[red]no[/]"
        table.add_row(shown(stratum(s)), share(s.share), f"{s.calls:,}", *figures, steady)
    way = [f"From process start: {steps(report)}"] if report.timeline else []
    way += [shown(line) for line in (*caches(report), *learned(report))]
    named = [s for s in report.strata if not s.converged or s.failures or s.refused]
    problems = [f"[red]{shown(stratum(s))}[/]\n  {shown(why(s))}" for s in named]
    table.caption = "\n".join([*way, *problems]) or None
    return table


def demo_table(result: DemoResult) -> Table:
    """Return the demo's measurements: a row for each model and server, cold against warm.

    Latencies are in milliseconds; ``ready`` is in seconds from the process's start.
    """
    table = table_of("[bold]The first request, cold and warm[/] (ms; ratio: first ÷ steady; ready: s)", "model")
    table.padding = 0  # ten columns in 80 characters
    table.add_column("server", no_wrap=True)
    for scenario, colour in zip(SCENARIOS, ("blue", "yellow"), strict=True):
        for heading in ("first", "steady", "ratio", "ready"):
            table.add_column(f"{scenario}\n{heading}", justify="right", no_wrap=True, style=colour)
    for model in result.models:
        for server in SERVERS:
            cells = [result.cell(model.name, server, scenario) for scenario in SCENARIOS]
            if any(cells):
                table.add_row(shown(model.name), server, *(figure for cell in cells for figure in _figures(cell)))
        table.add_section()
    return table


def verification_table(result: Verification) -> Table:
    """Return a verification: a row for each figure; latencies in milliseconds, medians of all starts.

    Under the table stands what does not pass, and why.
    """
    colours = {"pass": "green", "fail": "bold red", "noisy": "yellow"}
    words = {"pass": "warm", "fail": "not warm", "noisy": "no verdict"}
    verdict = f"[{colours[result.verdict]}]{words[result.verdict]}[/]"
    starts, limit = count(len(result.starts), "start"), f"limit {number(result.max_ratio)}"
    if there := result.judgeable:
        limit += f"; at {number(there.max_ratio)}: [{colours[there.verdict]}]{words[there.verdict]}[/]"
    headings = ("first\nms", "steady\nms", "first\n÷ steady", "worst", "inside")
    table = table_of(f"[bold]{shown(result.target)}[/]: {verdict}, {starts}, {limit}", "request", headings, "verdict")
    for row in result.rows:
        j = row.judgement
        name = shown(row.name) + (" [dim](unseen)[/]" if row.unseen else "")
        figures = (number(j.first_ms), number(j.steady_ms), number(j.ratio), number(j.worst), share(j.inside))
        table.add_row(name, *figures, f"[{colours[j.verdict]}]{j.verdict}[/]")
    problems = [
        f"[{colours[row.judgement.verdict]}]{shown(row.name)}[/]\n  {shown(row.why(result.max_ratio))}"
        for row in result.rows
        if row.judgement.verdict != "pass"
    ]
    table.caption = "\n".join(problems) or None
    return table


def bake_table(result: BakeResult) -> Table:
    """Return a bake's starts, the first of which compiles; times are in seconds. Under them stands what was gained."""
    table = table_of("[bold]What was baked[/]", "start", ("ready", "warm-up", "calls", "hit", "compiled"))
    for place, start in enumerate(result.starts):
        told = [one for one in start.cache if one.told]
        programs = tuple(f"{sum(getattr(one, what) for one in told):,}" for what in ("hit", "compiled"))
        programs = (NOTHING, NOTHING) if start.outside else programs
        times = (number(start.ready_seconds), number(start.warmup_seconds), f"{start.calls:,}")
        table.add_row("proves that it hits" if place else "compiles", *times, *programs)
    table.caption = "\n".join(map(shown, result.lines()))
    return table


def table_of(title: str, name: str = "", figures: Sequence[str] = (), last: str = "") -> Table:
    """Return an empty table with a wide column for names, narrow ones for figures, and the last for a word or two."""
    table = Table(title=title, box=box.SIMPLE, pad_edge=False, title_style="", caption_style="")
    table.title_justify = table.caption_justify = "left"
    if name:
        table.add_column(name, ratio=1, overflow="fold")
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    if figures:
        table.add_column(last, no_wrap=bool(last), overflow="fold")
    return table


def _figures(cell: Cell | None) -> list[str]:
    if cell is None:
        return [number(None)] * 4
    return [*(number(f) for f in (cell.first_ms, cell.steady_ms, cell.ratio)), number(cell.ready_seconds, 1)]
