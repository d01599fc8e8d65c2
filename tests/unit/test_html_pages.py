import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import pytest
from jinja2 import UndefinedError

from kserve_warmup.caches.bake_result import BakeResult
from kserve_warmup.caches.framework import CacheCount
from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.errors import WarmupError
from kserve_warmup.report import ProfileUse, Step, WarmupReport
from kserve_warmup.verify.verify_result import Verification
from kserve_warmup.views import figures
from kserve_warmup.views.html import render_report
from kserve_warmup.views.html.page import part
from kserve_warmup.views.html.warmup_page import ELSEWHERE

REPORTS = Path(__file__).parents[1] / "data" / "reports"
HOSTILE = "<script>alert(1)</script>\"'><img src=https://evil.example/x onerror=alert(1)>{{ 7*7 }}&amp;"


@pytest.fixture(scope="module")
def reports() -> list[WarmupReport]:
    return [WarmupReport.from_json(p.read_text()) for p in sorted(REPORTS.glob("warmup-*.json"))]


@pytest.fixture(scope="module")
def demo() -> DemoResult:
    return DemoResult.from_json((REPORTS / "demo.json").read_text())


@pytest.fixture(scope="module")
def verification() -> Verification:
    return Verification.from_json((REPORTS / "verify.json").read_text())


@pytest.fixture(scope="module")
def bake() -> BakeResult:
    return BakeResult.from_json((REPORTS / "bake.json").read_text())


@pytest.fixture(scope="module")
def baked() -> WarmupReport:
    return WarmupReport.from_json((REPORTS / "baked-warmup.json").read_text())


@pytest.fixture(scope="module", params=["warmup", "baked", "demo", "verify", "bake"])
def page(request: pytest.FixtureRequest) -> str:
    names = {"warmup": "reports", "verify": "verification"}
    shown = request.getfixturevalue(names.get(request.param, request.param))
    return render_report(*shown) if isinstance(shown, list) else render_report(shown)


def parsed(page: str) -> Element:
    # strict: anything that a browser would have to repair is an error.
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


def text(element: Element) -> str:
    return " ".join(" ".join(element.itertext()).split())


def rows(page: str, caption: str) -> list[list[str]]:
    tables = [t for t in parsed(page).iter("table") if caption in label(page, t)]
    return [[text(c) for c in row] for t in tables for body in t.iter("tbody") for row in body.iter("tr")]


def own(page: str) -> str:
    """Return the page without its scripts, which the policy names and which hold nothing of a report."""
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def charts(page: str, kind: str | None = None) -> list[dict[str, Any]]:
    specs = [json.loads(e.attrib["data-chart"]) for e in parsed(own(page)).iter() if "data-chart" in e.attrib]
    return [s for s in specs if kind in (None, s["kind"])]


def kind(error: str | None) -> str:
    """Return what a page shows of an error that has words after its kind."""
    return f"{error.rpartition(': ')[0]}; {ELSEWHERE}" if error else ""


def label(page: str, element: Element) -> str:
    names = element.get("aria-labelledby", "").split()
    return " ".join(text(e) for e in parsed(page).iter() if e.get("id") in names)


def test_a_page_is_well_formed(page: str) -> None:
    root = parsed(page)
    assert root.get("lang") == "en"
    assert [e.tag for e in root.iter() if e.tag in {"h1", "main", "title"}].count("h1") == 1


def test_a_page_asks_for_nothing_from_outside(page: str) -> None:
    tags = {str(e.tag).rpartition("}")[2] for e in parsed(own(page)).iter()}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "image", "use", "foreignObject"}
    assert not re.findall(r"(?:https?:)?//|url\(|@import|\b(?:src|href)=", own(page))
    assert "default-src 'none'" in page


def test_a_page_runs_the_scripts_that_its_policy_names_and_no_other(page: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    named = re.findall(r"'sha256-([^']+)'", policy.replace("&#39;", "'"))
    found = [text or "" for text in (e.text for e in parsed(page).iter("script"))]
    assert [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in found] == named
    assert len(named) == 3


def test_a_page_keeps_the_licences_of_the_plotting_library(page: str) -> None:
    assert page.count("Permission to use, copy, modify, and/or distribute this software") == 2
    assert "Mike Bostock" in page
    assert "Observable, Inc." in page


def test_a_page_stays_under_a_megabyte_with_its_library(page: str) -> None:
    assert len(page.encode()) < 1_000_000


def test_every_chart_has_a_name_and_a_description_in_words(page: str) -> None:
    found = charts(page)
    assert found
    assert all(s["title"] and len(s["description"]) > 15 for s in found)
    ids = [e.get("id") for e in parsed(page).iter() if e.get("id")]
    assert len(ids) == len(set(ids))


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
    for page in (render_report(report), render_report(result)):
        elements = [str(e.tag) for e in parsed(own(page)).iter()]
        assert "script" not in elements
        assert "img" not in elements
        assert HOSTILE in "".join(parsed(page).itertext())
        assert "{{ 7*7 }}" in page


def test_the_warmup_table_holds_the_figures_of_the_report(reports: list[WarmupReport]) -> None:
    page = render_report(*reports)
    for report in reports:
        named = any(s.failures or s.refused for s in report.strata)
        for row, s in zip(rows(page, f"Strata of {report.model}"), report.strata, strict=True):
            ratio = figures.NOTHING if s.first_ms is None else f"{s.first_ms / s.steady_ms:.2f}"
            state = "steady" if s.converged else "not steady"
            assert row[:4] == [s.protocol, s.signature, str(s.batch), figures.share(s.share)]
            assert row[4:8] == [str(s.calls), figures.number(s.first_ms), figures.number(s.steady_ms), ratio]
            assert row[8:10] == [state, str(s.failures)]
            assert row[10:] == ([kind(s.error)] if named else [])


def test_the_warmup_page_sums_up_and_names_what_is_not_steady(reports: list[WarmupReport]) -> None:
    page = render_report(reports[1])
    words = text(parsed(page))
    assert "silero-vad: not steady after 564 calls in 60 s" in words
    assert "Traffic warm 81% Sent, not steady 15.3% Strata steady 1 of 4" in words
    assert "Refused" not in words
    reasons = [text(li) for li in parsed(page).iter("li")]
    assert len(reasons) == 3
    assert reasons[1].endswith(f"3 of 3 requests failed: {kind(reports[1].strata[2].error)}")


def test_of_streamed_answers_the_page_tells_the_time_per_token_too(reports: list[WarmupReport]) -> None:
    streaming = replace(reports[0].strata[0], per_token_ms=(9.0, 3.0, 2.0, 2.0))
    page = render_report(replace(reports[0], strata=(streaming,)))
    assert "Until the first token, that is; each further one took 9 ms at first, 2 ms later." in page


def refusing(report: WarmupReport) -> WarmupReport:
    """Return the report with its third stratum refused whole, and one request of its first."""
    gone = replace(report.strata[2], failures=0, refused=3, error="sample 0a1b: HTTP 422: no such field 4711")
    first = replace(report.strata[0], refused=1)
    return replace(report, strata=(first, report.strata[1], gone, report.strata[3]))


def test_what_the_model_refuses_is_named_with_its_share_and_apart_from_faults(reports: list[WarmupReport]) -> None:
    report = refusing(reports[1])
    page = render_report(report)
    assert f"Refused by the model {figures.share(report.strata[2].share)}" in text(parsed(page))
    found = rows(page, "Strata of silero-vad")
    assert [row[8:11] for row in found] == [
        ["steady", "0", "1"],
        ["not steady", "0", "0"],
        ["refused", "0", "3"],
        ["not steady", "0", "0"],
    ]
    reasons = [text(li) for li in parsed(page).iter("li")]
    assert any(
        reason.endswith(f"Left out: the model refused 3 of 3 requests: sample 0a1b: HTTP 422; {ELSEWHERE}")
        for reason in reasons
    )
    assert any(f"Steady; the model refused 1 of {report.strata[0].calls} requests" in reason for reason in reasons)
    (chart,) = charts(page, "coverage")
    assert f"refused by the model: {figures.share(report.strata[2].share)}" in [p["text"] for p in chart["parts"]]


def test_a_warmup_is_steady_when_all_is_that_the_model_takes(reports: list[WarmupReport]) -> None:
    steady, _, gone, _ = refusing(reports[1]).strata
    report = replace(reports[1], strata=(steady, gone))
    assert "silero-vad: steady after" in text(parsed(render_report(report)))
    assert not report.converged
    assert "refused by the model; the other 1 of 2 strata steady" in report.summary()
    nothing = replace(report, strata=(gone,))
    assert "silero-vad: nothing warmed after 3 calls" in text(parsed(render_report(nothing)))


def test_a_steady_stratum_shows_its_band_and_a_moving_one_none(reports: list[WarmupReport]) -> None:
    steady, moving = reports[1].strata[:2]
    (with_band,) = charts(render_report(replace(reports[1], strata=(steady,), tolerance=0.05)), "latency")
    (without,) = charts(render_report(replace(reports[1], strata=(moving,))), "latency")
    assert with_band["declared"]["call"] == 61
    assert with_band["band"]["low"] == pytest.approx(0.95 * steady.steady_ms)
    assert "declared after call 61; the band is ±5%" in with_band["description"]
    assert (without["band"], without["declared"]) == (None, None)


def test_a_warmup_over_two_transports_marks_where_it_went_on(reports: list[WarmupReport]) -> None:
    before = replace(reports[0], strata=reports[0].strata[:1], transport="in_process")
    after = replace(before, transport="asgi")
    joined = WarmupReport.from_json(before.then(after).then(after).to_json())
    assert joined.strata[0].changes == (46, 92)
    (chart,) = charts(render_report(joined), "latency")
    assert "The transport changed after call 46, 92." in chart["description"]
    assert chart["changes"] == [46.5, 92.5]
    assert chart["band"]["from"] == 92.5


def test_the_timeline_shows_every_step_and_where_ready_was(reports: list[WarmupReport]) -> None:
    steps = (Step("import", 0, 2), Step("load", 2, 2.5), Step("model warm-up", 2.5, 4), Step("ready", 4, 4))
    page = render_report(replace(reports[0], timeline=steps))
    (chart,) = charts(page, "timeline")
    assert [row["label"] for row in chart["rows"]] == ["import  2 s", "load  500 ms", "model warm-up  1.5 s"]
    assert chart["ready"] == 4
    assert "import 2 s, load 500 ms, model warm-up 1.5 s; ready after 4 s" in text(parsed(own(page)))
    assert charts(render_report(reports[0]), "timeline") == []


def test_a_first_call_over_another_way_than_the_last_is_called_so(reports: list[WarmupReport]) -> None:
    words = "The first calls went over in_process, the last over the whole way"
    joined = replace(reports[0], transport="in_process").then(replace(reports[0], transport="rest"))
    assert words in text(parsed(own(render_report(joined))))
    assert "The first calls went over" not in text(parsed(own(render_report(replace(reports[0], transport="rest")))))


def test_coverage_tells_what_is_steady_moving_unreached_and_in_no_sample(reports: list[WarmupReport]) -> None:
    sampled = replace(reports[1], strata=tuple(replace(s, share=0.9 * s.share) for s in reports[1].strata))
    (chart,) = charts(render_report(sampled), "coverage")
    assert [p["text"].split(":")[0] for p in chart["parts"]] == [
        "steady",
        "sent, not steady",
        "not warmed",
        "in no sample",
    ]
    assert sum(p["share"] for p in chart["parts"]) == pytest.approx(1)
    (whole,) = charts(render_report(reports[0]), "coverage")
    assert [p["text"] for p in whole["parts"]] == ["steady: 100%"]


def test_what_a_request_held_never_appears_on_a_page(reports: list[WarmupReport], demo: DemoResult) -> None:
    secret = "patient 4711"
    errors = [
        f"sample 0a1b: HTTP 400: unexpected value '{secret}'",
        f"sample 0a1b: gRPC INVALID_ARGUMENT: {secret}",
        f"sample 0a1b: ValueError: could not convert string to float: '{secret}'",
        f"{secret}: in words of its own",
    ]
    strata = tuple(replace(reports[1].strata[2], error=e) for e in errors)
    report = replace(reports[1], strata=strata)
    starts = tuple(replace(s, warmup=report.to_dict()) for s in demo.cells[1].starts)
    shown = replace(demo, cells=tuple(replace(c, starts=starts) for c in demo.cells))
    for page in (render_report(report), render_report(report, report), render_report(shown)):
        assert secret not in page
        assert all(kind in page for kind in ("HTTP 400", "gRPC INVALID_ARGUMENT", "ValueError"))


def test_reports_of_one_model_are_compared_and_those_of_others_are_not(reports: list[WarmupReport]) -> None:
    after = replace(
        reports[1], strata=tuple(replace(s, steady_ms=s.steady_ms and s.steady_ms / 2) for s in reports[1].strata)
    )
    page = render_report(reports[1], after, reports[0], labels=["before", "after", "jax"])
    assert "silero-vad: before → after" in text(parsed(page))
    found = rows(page, "Stratum by stratum")
    assert found[0][-1] == figures.times(0.5)
    assert found[0][1:7] == ["58.10", "2.90", "61", "58.10", "1.45", "61"]
    assert found[1][2] == "not steady"
    whole = rows(page, "The whole warm-up")
    assert [row[0] for row in whole] == ["before", "after"]
    assert whole[0][-4:] == ["81%", "15.3%", "0%", "1 of 4"]
    overlays = [c for c in charts(page, "latency") if len(c["series"]) == 2]
    assert {s["name"] for c in overlays for s in c["series"]} == {"before", "after"}
    assert "→" not in "".join(text(h) for h in parsed(render_report(*reports)).iter("h2"))


def test_a_stratum_that_one_report_lacks_is_shown_as_missing(reports: list[WarmupReport]) -> None:
    fewer = replace(reports[1], strata=reports[1].strata[:1])
    found = rows(render_report(reports[1], fewer), "Stratum by stratum")
    assert len(found) == len(reports[1].strata)
    assert found[-1][4:] == [figures.NOTHING] * 4


def test_more_reports_than_marks_are_refused(reports: list[WarmupReport]) -> None:
    render_report(*[reports[0]] * 6)
    with pytest.raises(WarmupError, match="7 reports of digits-jax are too many"):
        render_report(*[reports[0]] * 7)


def test_the_demo_table_holds_the_figures_of_every_cell(demo: DemoResult) -> None:
    found = rows(render_report(demo), "First and steady latency")
    expected = []
    for model in demo.models:
        for server in ("kserve", "triton"):
            pair = [demo.cell(model.name, server, s) for s in ("cold", "warm")]
            expected.append([])
            for c in pair:
                expected[-1] += [f"{v:,.2f}" for v in (c.first_ms, c.steady_ms, c.ratio)] + [f"{c.ready_seconds:,.1f}"]
    assert [row[-8:] for row in found] == expected


def test_the_headline_promises_only_what_was_measured(demo: DemoResult) -> None:
    slow = [
        replace(c, starts=tuple(replace(s, latencies_ms=(90.0, *s.latencies_ms[1:])) for s in c.starts))
        for c in demo.cells
    ]
    (kept,) = parsed(render_report(demo)).iter("h1")
    (broken,) = parsed(render_report(replace(demo, cells=tuple(slow)))).iter("h1")
    assert text(kept) == "The first request as fast as the thousandth"
    assert text(broken) == "The first request, cold and warm"


def test_the_headline_figures_are_the_median_and_the_worst_ratio(demo: DemoResult) -> None:
    words = text(parsed(render_report(demo)))
    for scenario in ("cold", "warm"):
        ratios = sorted(c.ratio for c in demo.cells if c.scenario == scenario)
        middle = figures.times((ratios[3] + ratios[4]) / 2)
        ready = median(c.ready_seconds for c in demo.cells if c.scenario == scenario)
        assert (
            f"{scenario.capitalize()}: first request ÷ steady state {middle} median; "
            f"worst {figures.times(ratios[-1])}; ready after {ready:.1f} s" in words
        )


def test_several_fresh_starts_are_all_drawn_and_called_medians(demo: DemoResult) -> None:
    thrice = replace(demo, cells=tuple(replace(c, starts=c.starts * 3) for c in demo.cells))
    page = render_report(thrice)
    cold = [s for c in charts(page, "latency") for s in c["series"] if s["kind"] == "cold"]
    assert len(cold) == 3 * sum(
        s["kind"] == "cold" for c in charts(render_report(demo), "latency") for s in c["series"]
    )
    assert "medians of the fresh starts" in page
    assert "medians" not in render_report(demo)


def test_a_demo_without_triton_shows_what_there_is(demo: DemoResult) -> None:
    page = render_report(replace(demo, cells=tuple(c for c in demo.cells if c.server == "kserve")))
    assert len(rows(page, "First and steady latency")) == len(demo.models)
    assert ">Triton" not in page


def test_nothing_to_show_is_said_in_one_line(demo: DemoResult) -> None:
    with pytest.raises(WarmupError, match="pass at least one WarmupReport"):
        render_report()
    with pytest.raises(WarmupError, match="run the demo again"):
        render_report(replace(demo, cells=()))


def test_a_warmup_without_samples_is_not_called_steady(reports: list[WarmupReport]) -> None:
    empty = replace(reports[0], strata=(), seconds=0.0, note="no sample set")
    words = text(parsed(render_report(empty)))
    assert "digits-jax: nothing warmed after 0 calls" in words
    assert "no sample set" in words
    assert "1 of 2 warm-ups steady" in text(parsed(render_report(reports[0], empty)))


def test_a_name_that_a_template_misses_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="verdict"):
        part("warmup.html.j2", sections=[])


def test_a_verification_shows_every_figure_and_why_a_shape_fails(verification: Verification) -> None:
    page = render_report(verification)
    found = rows(page, "First and steady latency")
    assert [row[0].removesuffix(" unseen") for row in found] == [row.name for row in verification.rows]
    assert [row[4] for row in found] == [f"{row.judgement.ratio:,.2f}" for row in verification.rows]
    assert "Not warm" in own(page)
    assert "this shape was not warmed and compiles live" in own(page)


def test_a_verification_s_names_are_text_whatever_they_contain(verification: Verification) -> None:
    hostile = replace(verification, target=HOSTILE, rows=tuple(replace(r, name=HOSTILE) for r in verification.rows))
    page = render_report(hostile)
    assert "<script>alert" not in own(page)
    assert not list(parsed(page).iter("img"))


CACHES = (
    CacheCount("numba", 7, 1, 1, note="one of its files was damaged"),
    CacheCount("JAX", 3, seconds_saved=10.2),
    CacheCount("TensorRT", told=False, note="it is not known what its cache gives"),
)
NOT_WHOLLY = "baked caches are not used wholly: /opt/warm/caches/numba/core.nbc is not as it was baked, left out"
USED = ProfileUse("/opt/warm/profile.json", ("machine",), ("rest",), ("grpc: latencies are 1.5 times",), "/data/p.json")


def test_what_compile_caches_gave_is_shown_by_framework_and_in_all(reports: list[WarmupReport]) -> None:
    page = render_report(replace(reports[0], cache=CACHES, cache_note=NOT_WHOLLY))
    words = text(parsed(own(page)))
    assert "Compile caches 10 of 11 hit 1 compiled, 1 of them rejected, 10.2 s saved" in words
    assert NOT_WHOLLY in words
    assert rows(page, "by framework") == [
        ["numba", "7", "1", "1", figures.NOTHING, "one of its files was damaged"],
        ["JAX", "3", "0", "0", "10.20", ""],
        ["TensorRT", "not told", "it is not known what its cache gives"],
    ]


@pytest.mark.parametrize(
    ("cache", "note", "fact", "state"),
    [
        ((CacheCount("numba", 2),), None, "2 of 2 hit", "good"),
        ((CacheCount("numba", 2),), NOT_WHOLLY, "2 of 2 hit", "bad"),
        ((CacheCount("numba", 0, 2),), None, "2 programs compiled", ""),
        ((CacheCount("numba", 1, 2, 1),), None, "1 of 3 hit", "bad"),
        ((CacheCount("CuPy", told=False),), None, "not told", ""),
        ((), NOT_WHOLLY, "nothing compiled", "bad"),
    ],
)
def test_only_hits_without_a_compile_are_good_and_what_was_not_used_is_bad(
    reports: list[WarmupReport], cache: tuple[CacheCount, ...], note: str | None, fact: str, state: str
) -> None:
    root = parsed(own(render_report(replace(reports[0], cache=cache, cache_note=note))))
    (shown,) = [
        div for div in root.iter("div") if (text(div).startswith("Compile caches") and div.find("dd") is not None)
    ]
    assert (shown[1].text, shown[1].get("class")) == (fact, state)


def test_what_earlier_starts_had_learned_is_shown_line_by_line(reports: list[WarmupReport]) -> None:
    root = parsed(own(render_report(replace(reports[0], profile=USED))))
    assert "Profile of earlier starts ended early in part" in text(root)
    assert [text(li) for li in root.iter("li")][-5:] == [
        "Ended the warm-up early over rest",
        "Not used grpc: latencies are 1.5 times",
        "Learned with other machine",
        "Read from /opt/warm/profile.json",
        "This start was added to /data/p.json",
    ]


def test_nothing_stands_of_caches_and_profiles_where_there_are_none(reports: list[WarmupReport]) -> None:
    for page in (render_report(*reports), render_report(reports[0], reports[0])):
        words = text(parsed(own(page)))
        assert not any(word in words for word in ("Compile caches", "compile caches", "Profile", "earlier starts"))


def test_what_caches_and_profiles_did_is_compared_and_why_not_more(reports: list[WarmupReport]) -> None:
    before = replace(reports[0], cache=(CacheCount("numba", 0, 2),), cache_note=NOT_WHOLLY)
    after = replace(reports[0], cache=(CacheCount("numba", 2),), profile=USED)
    found = rows(
        render_report(before, after, reports[0], labels=["before", "after", "older"]), "What earlier starts gave"
    )
    assert [row[0] for row in found] == ["before", "after", "older"]
    assert found[0][1:] == [
        "2 programs compiled what was baked is not used, or not wholly",
        figures.NOTHING,
        NOT_WHOLLY,
    ]
    assert found[1][1:] == ["2 of 2 hit", "ended early in part", "profile: grpc: latencies are 1.5 times"]
    assert found[2][1:] == [figures.NOTHING, figures.NOTHING, ""]


def test_a_bake_shows_what_it_gained_and_every_start(bake: BakeResult) -> None:
    page = render_report(bake)
    assert "Baked: ready after 5.5 s instead of 6.97 s" in text(parsed(own(page)))
    assert [row[1:] for row in rows(page, "Starts in their order")] == [
        [figures.number(s.ready_seconds), figures.number(s.warmup_seconds), f"{s.calls:,}", what]
        for s, what in zip(bake.starts, ["2 programs compiled", "2 of 2 hit", "2 of 2 hit"], strict=True)
    ]
    assert rows(page, "by framework") == [["numba", "2", "0", "0", figures.NOTHING]]
    assert "Baked 0.2 MB 4 files in /opt/warm" in text(parsed(own(page)))


def test_a_bake_that_kept_nothing_is_not_called_a_gain(bake: BakeResult) -> None:
    starts = tuple(replace(start, cache=()) for start in bake.starts)
    page = render_report(replace(bake, files=0, size=0, starts=starts, profile=False))
    words = text(parsed(own(page)))
    assert "Nothing was baked: no framework kept anything" in words
    assert "Compile caches" not in [e.text for e in parsed(page).iter("dt")]


def test_a_bake_seen_from_outside_shows_when_it_was_warm_and_no_hits(bake: BakeResult) -> None:
    starts = tuple(replace(s, cache=(), outside=True, written=n, first_seconds=1.5) for n, s in enumerate(bake.starts))
    page = render_report(replace(bake, starts=starts))
    first, later = bake.starts[0], bake.starts[-1]
    after, instead = (figures.duration(1000 * (s.ready_seconds + s.warmup_seconds)) for s in (later, first))
    words = text(parsed(own(page)))
    assert f"Baked: warm after {after} instead of {instead}" in words
    assert "what is hit such a server does not tell" in words
    assert [row[-1] for row in rows(page, "Starts in their order")][1:] == [
        "1 file written anew",
        "2 files written anew",
    ]


def test_a_bake_that_was_not_seen_to_be_steady_says_so(bake: BakeResult) -> None:
    said = "not seen to be steady"
    assert said not in text(parsed(own(render_report(bake))))
    unsteady = replace(bake, starts=(replace(bake.starts[0], steady=False), *bake.starts[1:]))
    assert said in text(parsed(own(render_report(unsteady))))


def test_bakes_are_compared(bake: BakeResult) -> None:
    slower = replace(bake, starts=(replace(bake.starts[0], ready_seconds=60.0), *bake.starts[1:]))
    found = rows(render_report(slower, bake, labels=["before", "after"]), "A first start, which compiles")
    assert [(row[0], row[1]) for row in found] == [("before", "60.00"), ("after", "6.97")]


def test_what_frameworks_files_and_notes_are_called_is_text(reports: list[WarmupReport], bake: BakeResult) -> None:
    cache = (CacheCount(HOSTILE, 1, 1, note=HOSTILE),)
    use = ProfileUse(HOSTILE, (HOSTILE,), (HOSTILE,), (HOSTILE,), HOSTILE)
    report = replace(reports[0], cache=cache, cache_note=HOSTILE, profile=use)
    result = replace(bake, out=HOSTILE, starts=tuple(replace(s, cache=cache, note=HOSTILE) for s in bake.starts))
    for page in (render_report(report), render_report(report, report), render_report(result, result)):
        assert not {str(e.tag) for e in parsed(own(page)).iter()} & {"script", "img"}
        assert HOSTILE in "".join(parsed(page).itertext())


def test_no_two_places_of_a_page_have_one_name(
    reports: list[WarmupReport], demo: DemoResult, verification: Verification, baked: WarmupReport, bake: BakeResult
) -> None:
    root = parsed(render_report(*reports * 2, *[baked] * 2, *[verification] * 2, *[demo] * 2, *[bake] * 2))
    by_id = [e.attrib["id"] for e in root.iter() if "id" in e.attrib]
    named = {e.attrib["id"]: text(e) for e in root.iter() if "id" in e.attrib}
    places = [
        named[e.attrib["aria-labelledby"]]
        for e in root.iter()
        if e.tag == "section" or e.attrib.get("role") == "region"
    ]
    assert len(by_id) == len(set(by_id))
    assert len(places) == len(set(places)) > 20
