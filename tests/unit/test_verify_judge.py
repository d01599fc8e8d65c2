"""Verdicts on series whose truth is known."""

import io
import json
import random
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis.strategies import floats, integers, sampled_from
from rich.console import Console

from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import Latencies
from kserve_warmup.verify.judge import _verdict, judge, judgeable, starts_needed
from kserve_warmup.verify.junit import junit
from kserve_warmup.verify.verification import Options
from kserve_warmup.verify.verify_result import Start, Verification, judged
from kserve_warmup.views.figures import TIMES
from kserve_warmup.views.html import render_report
from kserve_warmup.views.terminal import verification_table


def series(penalty=1.0, noise=0.02, starts=10, requests=10, seed=0):
    """Latencies around 5 ms whose first one is dearer."""
    draw = random.Random(seed)
    made = []
    for _ in range(starts):
        latencies = [5 * draw.lognormvariate(0, noise) for _ in range(requests)]
        latencies[0] *= penalty
        made.append(Latencies(tuple(latencies)))
    return made


def result(*penalties, noise=0.02, unseen=()):
    rows = [(f"m: v2 x {TIMES} {n}", n in unseen, 0.5, series(p, noise, seed=n)) for n, p in enumerate(penalties)]
    return Verification(
        "2026-01-01T00:00:00+00:00", "the command", 0.3, 1.1, (Start(2.5, rows[0][0]),), judged(rows, 1.1)
    )


def test_first_is_divided_by_the_median_of_the_later_half():
    (only,) = [Latencies((50.0, 9.0, 4.0, 2.0, 3.0))]

    assert only.steady_ms == 3
    assert only.ratio == pytest.approx(50 / 3)


def test_the_figure_is_the_median_of_the_starts_and_the_worst_is_named():
    found = judge([Latencies((first, 1, 1, 1)) for first in (1, 9, 2)], 1.1)

    assert (found.ratio, found.worst) == (2, 9)


@pytest.mark.parametrize(("penalty", "verdict"), [(1, "pass"), (1.2, "fail"), (2, "fail"), (10, "fail")])
def test_a_penalty_is_found_on_a_quiet_machine(penalty, verdict):
    verdicts = [judge(series(penalty, seed=seed), 1.1).verdict for seed in range(30)]

    assert verdicts.count(verdict) >= 28


def test_a_noisy_machine_gets_no_verdict_that_it_cannot_support():
    verdicts = [judge(series(penalty, noise=0.4, seed=seed), 1.1).verdict for seed in range(15) for penalty in (1, 1.2)]

    assert verdicts.count("noisy") > 20


def test_what_no_noise_explains_is_judged_on_any_machine():
    assert {judge(series(10, noise=0.4, seed=seed), 1.1).verdict for seed in range(20)} == {"fail"}


def test_the_starts_that_are_asked_for_settle_it():
    noisy = judge(series(noise=0.25), 1.1)
    assert noisy.verdict == "noisy"

    more = starts_needed(noisy, 10, 1.1)

    assert judge(series(noise=0.25, starts=2 * more), 1.1).verdict == "pass"


def test_the_more_is_judged_the_more_certain_a_verdict_has_to_be():
    assert judge(series(noise=0.1), 1.1, judged=50).doubt > judge(series(noise=0.1), 1.1).doubt


def test_equal_measurements_get_equal_verdicts():
    assert judge(series(noise=0.2), 1.1) == judge(series(noise=0.2), 1.1)


def test_the_share_of_first_requests_among_the_steady_ones_is_told():
    assert judge(series(), 1.1).inside >= 0.8
    assert judge(series(2), 1.1).inside == 0


def test_one_failing_figure_fails_all_and_is_named_first():
    found = result(1, 2, 1)

    assert found.verdict == "fail"
    assert found.summary.startswith(f"not warm: 1 of 3 figures past 1.1; m: v2 x {TIMES} 1: first ÷ steady 2")


def test_a_figure_that_cannot_be_judged_says_why_and_what_would_help():
    found = result(1, noise=0.4)

    assert found.verdict == "noisy"
    assert "on this machine a warm server's own figure strays by" in found.summary
    assert "starts or a quieter machine" in found.summary


def test_an_unseen_shape_that_compiles_is_named_as_what_it_is():
    assert "this shape was not warmed and compiles live" in result(1, 30, unseen={1}).summary


def test_a_result_survives_json():
    found = result(1, 2, unseen={1})

    assert Verification.from_json(found.to_json()) == found
    assert json.loads(found.to_json())["verdict"] == "fail"


def test_junit_has_a_case_for_each_figure():
    suite = ET.fromstring(junit(result(1, 2, 1), strict=False).encode())

    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "0")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == [f"m: v2 x {TIMES} 1"]


@pytest.mark.parametrize(("strict", "element"), [(False, "skipped"), (True, "failure")])
def test_junit_fails_what_cannot_be_judged_only_when_strict(strict, element):
    (case,) = ET.fromstring(junit(result(1, noise=0.4), strict=strict).encode()).iter("testcase")

    assert case.find(element).get("message").startswith("first ÷ steady")


def test_the_table_and_the_page_hold_the_same_figures():
    found = result(1, 2, unseen={1})
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(verification_table(found))
    page = render_report(found)

    figure = f"{found.rows[1].judgement.ratio:.2f}"
    assert figure in console.export_text()
    assert figure in page
    assert "compiles live" in page


@pytest.mark.parametrize("options", [{"starts": 0}, {"requests": 3}, {"max_ratio": 1.0}, {"max_ratio": float("nan")}])
def test_what_cannot_be_measured_is_refused(options):
    with pytest.raises(WarmupError):
        Options(**options)


def smallest(found, asked):
    """Return the smallest limit above the one that was asked for at which a figure can be judged, tried one by one."""
    limits = (asked + step / 1000 for step in range(1, 20_000))
    return next(limit for limit in limits if _verdict(found.ratio, found.doubt, limit) != "noisy")


@given(
    penalty=floats(0.7, 4),
    noise=floats(0.05, 1),
    starts=integers(1, 12),
    asked=sampled_from((1.01, 1.1, 1.25)),
    seed=integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_what_noise_forbids_at_one_limit_is_judged_at_the_smallest_that_it_allows(penalty, noise, starts, asked, seed):
    found = judge(series(penalty, noise, starts, seed=seed), asked)
    there = judgeable([found], asked)

    if found.verdict != "noisy":
        assert there is None
        return
    assert there.verdict == _verdict(found.ratio, found.doubt, there.max_ratio) != "noisy"
    assert there.max_ratio > asked
    assert there.max_ratio == pytest.approx(round(there.max_ratio, 1))  # tenths
    least = smallest(found, asked)
    assert least - 0.001 <= there.max_ratio <= least + 0.1 + 1e-9


@given(noise=floats(0.1, 0.6), starts=integers(2, 10), count=integers(2, 4), seed=integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_at_the_limit_of_several_figures_each_of_them_is_judged(noise, starts, count, seed):
    found = [judge(series(1, noise, starts, seed=100 * seed + n), 1.1, count) for n in range(count)]

    if there := judgeable(found, 1.1):
        assert "noisy" not in {_verdict(j.ratio, j.doubt, there.max_ratio) for j in found}
        assert there.max_ratio == max(one.max_ratio for j in found if (one := judgeable([j], 1.1)))


def test_the_limit_that_is_named_passes_warm_servers_and_fails_cold_ones():
    warm = [judgeable([judge(series(1, 0.3, 4, seed=seed), 1.1)], 1.1) for seed in range(60)]
    cold = [judge(series(20, 0.3, 4, seed=seed), 1.1) for seed in range(60)]

    assert sum(there is not None for there in warm) > 30
    assert sum(there is not None and there.verdict == "fail" for there in warm) <= 6
    assert {one.verdict for one in cold} == {"fail"}


def test_the_limit_that_can_be_judged_is_named_wherever_a_verdict_is():
    found = result(1, noise=0.4)
    there = found.judgeable
    at = f"at {there.max_ratio:g}: pass"
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(verification_table(found))

    assert found.summary.startswith(f"no verdict at 1.1, {at}: 1 of 1 figure cannot be judged")
    assert f"no verdict at 1.1, {at}" in found.rows[0].why(1.1)
    assert f"at {there.max_ratio:.2f}: warm" in console.export_text()
    assert "Smallest limit that can be judged" in render_report(found)
    data = json.loads(found.to_json())
    assert data["judgeable"] == data["rows"][0]["judgeable"] == {"max_ratio": there.max_ratio, "verdict": "pass"}
    suite = ET.fromstring(junit(found, strict=False).encode())
    assert suite.find("properties/property[@name='judgeable_max_ratio']").get("value") == f"{there.max_ratio:g}"
    assert at in suite.find("testcase/skipped").get("message")


def test_no_other_limit_is_named_where_there_is_a_verdict():
    found = result(1, 2)

    assert found.judgeable is None
    assert json.loads(found.to_json())["judgeable"] is None
    assert "Smallest limit" not in render_report(found)
