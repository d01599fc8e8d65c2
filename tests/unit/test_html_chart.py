import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_warmup.views.figures import duration, times
from kserve_warmup.views.html.chart import (
    Curve,
    LogScale,
    Value,
    coverage_chart,
    latency_chart,
    row_chart,
    timeline_chart,
)

LATENCIES = st.lists(st.floats(0, 1e6), min_size=1, max_size=50)


@given(LATENCIES)
def test_every_latency_is_drawn_inside_the_axis(latencies: list[float]) -> None:
    spec = latency_chart("t", "d", [Curve("calls", tuple(latencies))])
    low, high = spec["y"]["domain"]
    (series,) = spec["series"]
    assert len(series["values"]) == len(latencies)
    assert all(low <= v <= high for v in series["values"])
    assert all(
        drawn == pytest.approx(max(v, 1e-3), rel=1e-3) for drawn, v in zip(series["values"], latencies, strict=True)
    )


@given(LATENCIES)
def test_an_axis_has_a_few_round_increasing_ticks_within_the_plot(latencies: list[float]) -> None:
    scale = LogScale.around(latencies)
    ticks = scale.ticks()
    assert 1 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    assert all(scale.low <= t <= scale.high for t in ticks)
    assert all(round(t / 10 ** math.floor(math.log10(t) + 1e-9), 6) in {1, 2, 5} for t in ticks)
    assert [text for _, text in scale.axis(duration)["ticks"]] == [duration(t) for t in ticks]


@pytest.mark.parametrize("calls", [1, 2, 5, 6, 10, 46, 500, 501, 12345])
def test_the_call_axis_begins_at_one_and_its_labels_do_not_crowd(calls: int) -> None:
    axis = latency_chart("t", "d", [Curve("calls", (1.0,) * calls)])["x"]
    first, last = axis["domain"]
    assert axis["ticks"][0] == [1, "call 1"]
    assert len(axis["ticks"]) <= 6
    gaps = [(b[0] - a[0]) / (last - first) for a, b in pairwise(axis["ticks"])]
    assert all(gap >= 0.1 for gap in gaps)


def test_noise_of_a_few_percent_looks_flat() -> None:
    low, high = latency_chart("t", "d", [Curve("calls", (1.0, 1.05, 0.97, 1.02))])["y"]["domain"]
    assert high / low >= 9.99


def test_the_steady_band_lies_around_the_point_where_steady_was_declared_after_the_last_change() -> None:
    spec = latency_chart("t", "d", [Curve("calls", (90.0, 2.0, 2.0))], band=(1.8, 2.2), changes=[1])
    assert spec["band"] == {"from": 1.5, "to": 3, "low": 1.8, "high": 2.2}
    assert spec["declared"] == {"call": 3, "ms": 2.0}
    without = latency_chart("t", "d", [Curve("calls", (90.0, 2.0))])
    assert (without["band"], without["declared"]) == (None, None)


def test_a_shared_scale_makes_charts_comparable() -> None:
    scale = LogScale.around([1.0, 500.0])
    left, right = (latency_chart("t", "d", [Curve("cold", c)], scale=scale) for c in ((500.0, 2.0), (8.0, 2.0)))
    assert left["y"] == right["y"]


def test_a_row_names_its_values_and_keeps_them_within_the_axis() -> None:
    rows = [("a", [Value("cold", "cold", 400.0, times(400)), Value("warm", "warm", 1.02, times(1.02))])]
    spec = row_chart("t", "d", rows, ratios=times)
    assert spec["rows"][0]["label"] == f"a  {times(400)} → {times(1.02)}"
    assert [v["text"] for v in spec["rows"][0]["values"]] == [f"a, cold: {times(400)}", f"a, warm: {times(1.02)}"]
    low, high = spec["x"]["domain"]
    assert low < 1
    assert high > 400
    assert spec["one"] is True
    assert row_chart("t", "d", rows)["one"] is False


@given(st.floats(0, 1e5))
def test_a_timeline_has_a_few_ticks_that_begin_at_the_process_start(end: float) -> None:
    axis = timeline_chart("t", "d", [("load", "cold", ((0.0, end),))], end)["x"]
    assert axis["ticks"][0] == [0, "0 s"]
    assert len(axis["ticks"]) <= 6
    assert all(tick <= axis["domain"][1] * (1 + 1e-9) for tick, _ in axis["ticks"])


def test_a_bar_tells_its_time_over_all_its_spans() -> None:
    spec = timeline_chart("t", "d", [("load", "cold", ((0.0, 0.5), (1.0, 2.0)))], None)
    assert spec["rows"][0]["label"] == "load  1.5 s"
    assert len(spec["rows"][0]["bars"]) == 2


def test_every_chart_is_plain_json() -> None:
    charts = [
        latency_chart("t", "d", [Curve("calls", (1.0,))], band=(0.9, 1.1)),
        row_chart("t", "d", [("a", [Value("cold", "cold", 1.0, "1")])]),
        timeline_chart("t", "d", [("load", "cold", ((0.0, 1.0),))], 1.0),
        coverage_chart("t", "d", [("steady", "good", 1.0)]),
    ]
    for chart in charts:
        assert json.loads(json.dumps(chart)) == chart
