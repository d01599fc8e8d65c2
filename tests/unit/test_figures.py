from dataclasses import replace

import pytest

from kserve_warmup.report import StratumReport
from kserve_warmup.views import figures

STRATUM = StratumReport("v2", "image:FP32[N,64]", 8, 1.0, 40, 1.0, 50.0, 2.0, converged=True, failures=0, error=None)


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0.0412, "41.2 µs"), (3.2, "3.2 ms"), (131.2, "131 ms"), (1000, "1 s"), (61234, "61.2 s"), (0, "0 µs")],
)
def test_a_duration_has_three_significant_digits_and_the_unit_that_fits(ms: float, text: str) -> None:
    assert figures.duration(ms) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.9241, "0.92"), (1.0412, "1.04"), (42.46, "42.5"), (2310.4, "2,310"), (100, "100")]
)
def test_a_ratio_in_running_text_has_three_digits_at_most(value: float, text: str) -> None:
    assert figures.times(value) == text + figures.TIMES


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0%"), (0.0004, "<0.1%"), (0.153, "15.3%"), (0.9999, ">99.9%"), (1, "100%"), (0.1 + 0.2 + 0.7, "100%")],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(value: float, text: str) -> None:
    assert figures.share(value) == text


def test_a_missing_figure_is_a_dash_and_gives_no_ratio() -> None:
    assert figures.number(None) == figures.NOTHING
    assert figures.ratio(None, 2.0) is None
    assert figures.ratio(3.0, None) is None
    assert figures.ratio(3.0, 0.0) is None
    assert figures.ratio(3.0, 2.0) == 1.5


def test_every_way_of_not_being_steady_has_its_own_reason() -> None:
    moving = replace(STRATUM, converged=False)
    silent = replace(moving, calls=2, failures=2, first_ms=None, steady_ms=None, error="sample ab: status 500")
    reasons = [
        figures.why(moving),
        figures.why(replace(moving, failures=1, error="sample ab: no answer within 30 s")),
        figures.why(silent),
        figures.why(replace(moving, calls=0, first_ms=None, steady_ms=None)),
        figures.why(replace(silent, failures=0, refused=2, error="sample ab: HTTP 404")),
        figures.why(replace(silent, failures=1, refused=1)),
        figures.why(replace(STRATUM, refused=1, error="sample ab: HTTP 404")),
    ]
    assert reasons == [
        "Still moving after 40 calls, when its calls or the time ran out",
        "Not settled after 40 calls: 1 of 40 requests failed: sample ab: no answer within 30 s",
        "No answer: 2 of 2 requests failed: sample ab: status 500",
        "Not reached: the warm-up ended before its turn",
        "Left out: the model refused 2 of 2 requests: sample ab: HTTP 404",
        "No answer: 1 of 2 requests failed, the model refused 1 of 2 requests: sample ab: status 500",
        "Steady; the model refused 1 of 40 requests: sample ab: HTTP 404",
    ]
