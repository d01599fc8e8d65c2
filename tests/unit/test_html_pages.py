import re
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

import html5lib
import pytest
from jinja2 import UndefinedError

from kserve_warmup import figures
from kserve_warmup.demo.result import DemoResult
from kserve_warmup.errors import WarmupError
from kserve_warmup.html import render_demo, render_report
from kserve_warmup.html.page import render
from kserve_warmup.report import WarmupReport

REPORTS = Path(__file__).parents[1] / "data" / "reports"
HOSTILE = "<script>alert(1)</script>\"'><img src=https://evil.example/x onerror=alert(1)>{{ 7*7 }}&amp;"


@pytest.fixture(scope="module")
def reports() -> list[WarmupReport]:
    return [WarmupReport.from_json(p.read_text()) for p in sorted(REPORTS.glob("warmup-*.json"))]


@pytest.fixture(scope="module")
def demo() -> DemoResult:
    return DemoResult.from_json((REPORTS / "demo.json").read_text())


@pytest.fixture(scope="module", params=["warmup", "demo"])
def page(request: pytest.FixtureRequest, reports: list[WarmupReport], demo: DemoResult) -> str:
    return render_report(*reports) if request.param == "warmup" else render_demo(demo)


def parsed(page: str) -> Element:
    # strict: anything that a browser would have to repair is an error.
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text(element: Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def rows(page: str, caption: str) -> list[list[str]]:
    tables = [t for t in parsed(page).iter("table") if caption in label(page, t)]
    return [[text(c) for c in row] for t in tables for body in t.iter("tbody") for row in body.iter("tr")]


def label(page: str, element: Element) -> str:
    names = element.get("aria-labelledby", "").split()
    return " ".join(text(e) for e in parsed(page).iter() if e.get("id") in names)


def test_a_page_is_well_formed(page: str) -> None:
    root = parsed(page)
    assert root.get("lang") == "en"
    assert [e.tag for e in root.iter() if e.tag in {"h1", "main", "title"}].count("h1") == 1


def test_a_page_asks_for_nothing_from_outside(page: str) -> None:
    tags = {str(e.tag).rpartition("}")[2] for e in parsed(page).iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "image", "use", "foreignObject"}
    assert not re.findall(r"(?:https?:)?//|url\(|@import|\b(?:src|href)=", page)
    assert "default-src 'none'" in page


def test_every_chart_has_a_name_and_a_description_in_words(page: str) -> None:
    root = parsed(page)
    charts = [e for e in root.iter() if e.get("role") == "img"]
    assert charts
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    for chart in charts:
        assert all(name in ids for name in chart.get("aria-labelledby", "").split())
        assert len(label(page, chart)) > 40


def test_a_table_can_be_scrolled_by_keyboard_and_has_a_name(page: str) -> None:
    regions = [e for e in parsed(page).iter("div") if e.get("role") == "region"]
    assert regions
    assert all(r.get("tabindex") == "0" and label(page, r) for r in regions)
    assert all(h.get("scope") for h in parsed(page).iter("th"))


def test_names_and_errors_are_text_whatever_they_contain(reports: list[WarmupReport], demo: DemoResult) -> None:
    bad = replace(reports[1].strata[2], protocol=HOSTILE, signature=HOSTILE, error=HOSTILE)
    moved = replace(reports[1].strata[1], signature=HOSTILE)
    report = replace(reports[1], model=HOSTILE, transport=HOSTILE, note=HOSTILE, strata=(bad, moved))
    starts = tuple(replace(s, warmup=report.to_dict()) for s in demo.cells[1].starts)
    result = replace(
        demo,
        machine=HOSTILE,
        created=HOSTILE,
        versions={HOSTILE: HOSTILE},
        models=(replace(demo.models[0], name=HOSTILE, description=HOSTILE, inputs=HOSTILE),),
        cells=tuple(replace(c, model=HOSTILE, protocol=HOSTILE, starts=starts) for c in demo.cells[:4]),
    )
    for page in (render_report(report), render_demo(result)):
        elements = [str(e.tag) for e in parsed(page).iter()]
        assert "script" not in elements
        assert "img" not in elements
        assert HOSTILE in "".join(parsed(page).itertext())
        assert "{{ 7*7 }}" in page


def test_the_warmup_table_holds_the_figures_of_the_report(reports: list[WarmupReport]) -> None:
    page = render_report(*reports)
    for report in reports:
        for row, s in zip(rows(page, f"Strata of {report.model}"), report.strata, strict=True):
            ratio = figures.NOTHING if s.first_ms is None else f"{s.first_ms / s.steady_ms:.2f}"
            state = "steady" if s.converged else "not steady"
            assert row[:4] == [s.protocol, s.signature, str(s.batch), figures.share(s.share)]
            assert row[4:8] == [str(s.calls), figures.number(s.first_ms), figures.number(s.steady_ms), ratio]
            assert row[8:] == [
                state,
                str(s.failures),
                *([s.error or ""] if any(x.failures for x in report.strata) else []),
            ]


def test_the_warmup_page_sums_up_and_names_what_is_not_steady(reports: list[WarmupReport]) -> None:
    page = render_report(reports[1])
    words = text(parsed(page))
    assert "silero-vad: not steady after 564 calls in 60 s" in words
    assert "Traffic covered 96.3%" in words
    reasons = [text(li) for li in parsed(page).iter("li")]
    assert len(reasons) == 3
    assert reasons[1].endswith(figures.why(reports[1].strata[2]))


def test_a_steady_stratum_shows_its_band_and_a_moving_one_none(reports: list[WarmupReport]) -> None:
    steady, moving = reports[1].strata[:2]
    with_band = render_report(replace(reports[1], strata=(steady,)))
    without = render_report(replace(reports[1], strata=(moving,)))
    assert with_band.count('class="band"') == with_band.count('class="steady"') == 1
    assert "declared after call 61" in with_band
    assert 'class="band"' not in without
    assert 'class="steady"' not in without


def test_a_warmup_over_two_transports_marks_where_it_went_on(reports: list[WarmupReport]) -> None:
    before = replace(reports[0], strata=reports[0].strata[:1], transport="in_process")
    after = replace(before, transport="asgi")
    joined = WarmupReport.from_json(before.then(after).then(after).to_json())
    assert joined.strata[0].changes == (46, 92)
    page = render_report(joined)
    assert "The transport changed after call 46, 92." in page
    assert page.count('<line class="one"') == 2
    (left,) = re.findall(r'class="band" x="([\d.]+)%"', page)
    assert float(left) == pytest.approx(100 * 91.5 / 137, abs=0.01)
    assert '<line class="one"' not in render_report(before)


def test_the_demo_table_holds_the_figures_of_every_cell(demo: DemoResult) -> None:
    found = rows(render_demo(demo), "First and steady latency")
    expected = []
    for model in demo.models:
        for server in ("kserve", "triton"):
            pair = [demo.cell(model.name, server, s) for s in ("cold", "warm")]
            cells = [[c.first_ms, c.steady_ms, c.ratio] for c in pair if c]
            expected.append([f"{v:,.2f}" for c in cells for v in c])
    assert [row[-8:-5] + row[-4:-1] for row in found] == expected


def test_the_headline_promises_only_what_was_measured(demo: DemoResult) -> None:
    slow = [
        replace(c, starts=tuple(replace(s, latencies_ms=(90.0, *s.latencies_ms[1:])) for s in c.starts))
        for c in demo.cells
    ]
    (kept,) = parsed(render_demo(demo)).iter("h1")
    (broken,) = parsed(render_demo(replace(demo, cells=tuple(slow)))).iter("h1")
    assert text(kept) == "The first request as fast as the thousandth"
    assert text(broken) == "The first request, cold and warm"


def test_the_headline_figures_are_the_median_and_the_worst_ratio(demo: DemoResult) -> None:
    words = text(parsed(render_demo(demo)))
    for scenario in ("cold", "warm"):
        ratios = sorted(c.ratio for c in demo.cells if c.scenario == scenario)
        middle = figures.times((ratios[3] + ratios[4]) / 2)
        assert (
            f"{scenario.capitalize()}: first request ÷ steady state {middle} median; worst {figures.times(ratios[-1])}"
            in words
        )


def test_several_fresh_starts_are_all_drawn_and_called_medians(demo: DemoResult) -> None:
    thrice = replace(demo, cells=tuple(replace(c, starts=c.starts * 3) for c in demo.cells))
    page = render_demo(thrice)
    assert page.count('<path class="cold"') == 3 * render_demo(demo).count('<path class="cold"')
    assert "medians of the fresh starts" in page
    assert "medians" not in render_demo(demo)


def test_a_demo_without_triton_shows_what_there_is(demo: DemoResult) -> None:
    page = render_demo(replace(demo, cells=tuple(c for c in demo.cells if c.server == "kserve")))
    assert len(rows(page, "First and steady latency")) == len(demo.models)
    assert ">Triton" not in page


def test_nothing_to_show_is_said_in_one_line(demo: DemoResult) -> None:
    with pytest.raises(WarmupError, match="pass at least one WarmupReport"):
        render_report()
    with pytest.raises(WarmupError, match="run the demo again"):
        render_demo(replace(demo, cells=()))


def test_a_warmup_without_samples_is_not_called_steady(reports: list[WarmupReport]) -> None:
    empty = replace(reports[0], strata=(), seconds=0.0, note="no sample set")
    words = text(parsed(render_report(empty)))
    assert "digits-jax: nothing warmed after 0 calls" in words
    assert "no sample set" in words
    assert "1 of 2 warm-ups steady" in text(parsed(render_report(reports[0], empty)))


def test_a_name_that_a_template_misses_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="verdict"):
        render("warmup.html.j2", title="t", sections=[])
