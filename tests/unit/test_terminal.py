from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.report import WarmupReport
from kserve_warmup.views import figures
from kserve_warmup.views.terminal import demo_table, report_table

REPORTS = Path(__file__).parents[1] / "data" / "reports"
REPORT = WarmupReport.from_json((REPORTS / "warmup-silero-vad.json").read_text())
DEMO = DemoResult.from_json((REPORTS / "demo.json").read_text())


def shown(table: Table, width: int = 80) -> str:
    console = Console(width=width, no_color=True, force_terminal=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_report_table_fits_80_columns_with_every_figure_whole() -> None:
    text = shown(report_table(REPORT))
    assert max(map(len, text.splitlines())) <= 80
    for s in REPORT.strata:
        for figure in (figures.number(s.first_ms), figures.number(s.steady_ms), f"{s.calls:,}", figures.share(s.share)):
            assert f" {figure} " in text


def test_the_report_table_says_what_is_not_steady_and_why() -> None:
    text = " ".join(shown(report_table(REPORT)).split())
    assert "not steady, 564 calls in 60.00 s, 81% of the traffic warm, 15.3% sent but not steady" in text
    for s in REPORT.strata[1:]:
        assert f"{figures.stratum(s)} {figures.why(s)}" in text


def test_the_report_table_names_what_the_model_refuses_with_its_share() -> None:
    gone = replace(REPORT.strata[2], failures=0, refused=3, error="sample ab: HTTP 422: bad")
    text = " ".join(shown(report_table(replace(REPORT, strata=(REPORT.strata[0], gone))), width=100).split())
    spent = "steady, 64 calls in 60.00 s, 81% of the traffic warm"
    assert f"silero-vad over asgi: {spent}, {figures.share(gone.share)} refused by the model" in text
    assert f"{figures.stratum(gone)} Left out: the model refused 3 of 3 requests: sample ab: HTTP 422: bad" in text


def test_a_steady_report_has_nothing_under_its_table() -> None:
    steady = replace(REPORT, strata=REPORT.strata[:1])
    assert report_table(steady).caption is None
    assert "nothing warmed, 0 calls" in shown(report_table(replace(REPORT, strata=())))


def test_names_with_brackets_are_text_and_not_markup() -> None:
    stratum = replace(REPORT.strata[2], signature="[bold]x:FP32[3]", error="[/red] bad [link=x]")
    text = shown(report_table(replace(REPORT, model="[red]m", strata=(stratum,))), width=160)
    assert "[red]m" in text
    assert "[bold]x:FP32[3]" in text
    assert "[/red] bad [link=x]" in text


def test_the_demo_table_fits_80_columns_with_every_figure_whole() -> None:
    text = shown(demo_table(DEMO))
    assert max(map(len, text.splitlines())) <= 80
    for cell in DEMO.cells:
        line = next(x for x in text.splitlines() if x.split()[:2] == [cell.model, cell.server])
        shown_figures = [figures.number(f) for f in (cell.first_ms, cell.steady_ms, cell.ratio)]
        shown_figures.append(figures.number(cell.ready_seconds, 1))
        assert " ".join(shown_figures) in " ".join(line.split())


def test_the_demo_table_leaves_out_a_server_that_was_not_measured() -> None:
    text = shown(demo_table(replace(DEMO, cells=tuple(c for c in DEMO.cells if c.server == "kserve"))))
    assert "triton" not in text
    assert text.count("kserve") == len(DEMO.models)
