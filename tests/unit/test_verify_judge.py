"""Verdicts on series whose truth is known."""

import io
import json
import random
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import Latencies
from kserve_warmup.verify.judge import judge, starts_needed
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
    (case,) = ET.fromstring(junit(result(1, noise=0.4), strict=strict).encode())

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
