"""Results as tables for a terminal of 80 columns."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from kserve_warmup.demo.result import SCENARIOS, SERVERS, DemoResult
from kserve_warmup.figures import count, number, ratio, share, stratum
from kserve_warmup.report import StratumReport, WarmupReport


def report_table(report: WarmupReport) -> Table:
    """Return the warm-up of one model: a row for each stratum, in order of traffic share; latencies in milliseconds."""
    steady = "steady" if report.converged else "[bold red]not steady[/]"
    spent = (
        f"{count(report.calls, 'call')} in {number(report.seconds)} s, covers {share(report.coverage)} of the traffic"
    )
    table = Table(
        title=f"{escape(report.model)} over {escape(report.transport)}: {steady}, {spent}", title_justify="left"
    )
    table.add_column("stratum", ratio=1, overflow="fold")
    for heading in ("share", "calls", "first ms", "steady ms", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for s in report.strata:
        table.add_row(*_stratum(s))
    return table


def demo_table(result: DemoResult) -> Table:
    """Return the demo's measurements: a row for each model and server, cold against warm; latencies in milliseconds."""
    table = Table(title="First request, cold and warm", title_justify="left", caption="ratio: first ÷ steady")
    table.add_column("model", ratio=1, overflow="fold")
    table.add_column("server", no_wrap=True)
    for scenario, colour in (("cold", "blue"), ("warm", "yellow")):
        for heading in ("first", "steady", "ratio"):
            table.add_column(f"{scenario}\n{heading}", justify="right", no_wrap=True, style=colour)
    for model in result.models:
        for server in SERVERS:
            cells = [result.cell(model.name, server, scenario) for scenario in SCENARIOS]
            if not any(cells):
                continue
            figures = [f for c in cells for f in ((c.first_ms, c.steady_ms, c.ratio) if c else (None, None, None))]
            table.add_row(escape(model.name), server, *(number(f) for f in figures))
        table.add_section()
    return table


def _stratum(s: StratumReport) -> tuple[str, ...]:
    name = stratum(s.protocol, s.signature, s.batch)
    error = f"\n[red]{escape(s.error)}[/]" if s.error else ""
    state = "steady" if s.converged else "[red]not steady[/]"
    figures = (number(s.first_ms), number(s.steady_ms), number(ratio(s.first_ms, s.steady_ms)))
    failures = f"\n[red]{s.failures:,} failed[/]" if s.failures else ""
    return (f"{escape(name)}{error}", share(s.share), f"{s.calls:,}", *figures, f"{state}{failures}")
