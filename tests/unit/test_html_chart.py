import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_warmup.figures import times
from kserve_warmup.html.chart import Curve, LogScale, comparison, latency_chart

LATENCIES = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@given(LATENCIES)
def test_every_latency_lies_inside_the_plot(latencies: list[float]) -> None:
    chart = latency_chart("t", "d", [Curve("calls", tuple(latencies))])
    numbers = [float(n) for n in chart.lines[0].path.replace("M", "").replace("L", " ").split()]
    assert len(numbers) == 2 * len(latencies)
    assert all(0 <= n <= 1000 for n in numbers)


@given(LATENCIES)
def test_an_axis_has_a_few_round_increasing_ticks_within_the_plot(latencies: list[float]) -> None:
    scale = LogScale.around(latencies)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    assert all(0 <= scale.at(t) <= 100 for t in ticks)
    assert all(round(t / 10 ** math.floor(math.log10(t) + 1e-9), 6) in {1, 2, 5} for t in ticks)


@pytest.mark.parametrize("calls", [1, 2, 5, 6, 10, 46, 500, 501, 12345])
def test_the_call_axis_begins_at_one_and_its_labels_do_not_crowd(calls: int) -> None:
    ticks = latency_chart("t", "d", [Curve("calls", (1.0,) * calls)]).x_ticks
    assert ticks[0].label == "call 1"
    assert len(ticks) <= 6
    gaps = [b.at - a.at for a, b in pairwise(ticks)]
    assert all(gap >= 10 for gap in gaps)


def test_noise_of_a_few_percent_looks_flat() -> None:
    chart = latency_chart("t", "d", [Curve("calls", (1.0, 1.05, 0.97, 1.02))])
    assert abs(chart.lines[0].first.y - chart.lines[0].last.y) < 2


def test_equal_steps_of_the_axis_are_equal_factors() -> None:
    scale = LogScale(1, 1000)
    assert [round(scale.at(v), 6) for v in (1, 10, 100, 1000)] == [0, 33.333333, 66.666667, 100]


def test_the_steady_band_lies_around_the_steady_latency() -> None:
    chart = latency_chart("t", "d", [Curve("calls", (90.0, 2.0))], band=(1.8, 2.2))
    assert chart.band is not None
    assert chart.band.top < chart.lines[0].last.y < chart.band.top + chart.band.height


def test_a_shared_scale_puts_equal_latencies_at_equal_heights() -> None:
    scale = LogScale.around([1.0, 500.0])
    left, right = (latency_chart("t", "d", [Curve("cold", c)], scale=scale) for c in ((500.0, 2.0), (8.0, 2.0)))
    assert left.lines[0].last.y == right.lines[0].last.y
    assert left.y_ticks == right.y_ticks


def test_a_comparison_puts_the_colder_server_further_right() -> None:
    rows = comparison("t", "d", [("a", 400.0, 1.02), ("b", 2.0, 0.98)]).rows
    assert rows[0].cold > rows[1].cold > rows[0].warm > rows[1].warm
    assert (rows[0].cold_text, rows[0].warm_text) == (times(400), times(1.02))
