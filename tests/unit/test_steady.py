"""When is a series of latencies steady? Series are in milliseconds; only ratios count."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_warmup.steady import RECOMMENDED_MAX_CALLS, SteadyStateDetector


def stop(series):
    """Return the number of calls at which ``series`` is judged steady, None if never."""
    detector = SteadyStateDetector()
    for latency in series:
        if detector.observe(latency):
            return detector.calls
    return None


def noisy(level, calls, seed=0, spread=0.02):
    generator = random.Random(seed)
    return [level * math.exp(generator.gauss(0, spread)) for _ in range(calls)]


def test_a_flat_series_is_steady():
    assert stop([1.0] * 200) is not None


def test_two_slow_calls_do_not_delay_the_verdict():
    assert stop([200.0, 40.0, *noisy(0.3, 500)]) == stop(noisy(0.3, 502))


def test_a_recompile_at_call_60_is_not_missed_when_it_changes_the_level():
    assert stop([*noisy(3.0, 59), 80.0, *noisy(1.0, 500)]) > 60


def test_spikes_of_garbage_collection_do_not_prevent_a_verdict():
    series = noisy(1.0, 600)
    series[::25] = [8.0] * len(series[::25])
    assert stop(series) is not None


def test_bimodal_latency_is_judged_steady_in_the_end():
    generator = random.Random(1)
    assert stop([generator.choice((1.0, 1.6)) for _ in range(RECOMMENDED_MAX_CALLS)]) is not None


def test_latency_that_drifts_down_is_not_steady_while_it_drifts():
    falling = [10.0 * 0.995**call for call in range(300)]
    end = falling[-1]
    assert stop(falling) is None
    assert stop([*falling, *noisy(end, 1000)]) > 300


def test_a_series_that_never_settles_gets_no_verdict():
    assert stop([1.01**call for call in range(RECOMMENDED_MAX_CALLS)]) is None


def test_a_late_burst_of_compilation_delays_the_verdict():
    calm = stop(noisy(1.0, 600))
    series = noisy(1.0, 600)
    series[calm - 20 : calm - 5] = [6.0] * 15
    assert stop(series) > calm


def test_a_verdict_is_not_taken_back_and_every_call_is_counted():
    detector = SteadyStateDetector()
    for latency in [*[1.0] * 200, *[50.0] * 50]:
        detector.observe(latency)
    assert detector.steady
    assert detector.calls == 250


def test_the_steady_latency_is_that_of_the_plateau():
    detector = SteadyStateDetector()
    for latency in [500.0, 100.0, *noisy(2.0, 300)]:
        detector.observe(latency)
    assert detector.steady_latency == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_latency_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match="a latency must be"):
        SteadyStateDetector().observe(bad)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.5, 2.0), min_size=80, max_size=300), st.sampled_from([2.0**-20, 0.25, 1024.0]))
def test_the_unit_makes_no_difference(series, unit):
    assert stop(series) == stop([unit * latency for latency in series])
