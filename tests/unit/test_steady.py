"""When is a series of latencies steady? Series are in milliseconds; only ratios count."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import steady_state as benchmark
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


def harm(families):
    series = [one for family in families for one in benchmark.generate(family, 30, seed=7)]
    return benchmark.score(benchmark.kserve_warmup, series), benchmark.score(benchmark.growing_blocks, series)


def test_users_of_compiled_code_are_served_near_the_plateau():
    ours, theirs = harm(benchmark.JIT)
    assert ours.harm_10 <= min(0.05, theirs.harm_10)
    assert ours.harm_25 <= 0.03
    assert ours.stopped >= 0.97
    assert ours.median_calls <= 110


def test_users_of_ordinary_servers_are_served_near_the_plateau_and_soon():
    ours, theirs = harm(benchmark.SERVING)
    assert ours.harm_10 <= min(0.03, theirs.harm_10)
    assert ours.stopped >= 0.95
    assert ours.median_calls <= 100


def test_a_slow_fall_is_seldom_taken_for_a_plateau():
    ours, theirs = harm(benchmark.DRIFT)
    assert ours.harm_10 <= 0.25 < theirs.harm_10


def test_few_series_that_never_settle_get_a_verdict():
    ours, _ = harm(benchmark.UNSETTLED)
    assert ours.stopped <= 0.15


@pytest.mark.parametrize("bad", [0.0, -0.1, math.nan, math.inf])
def test_a_tolerance_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match="tolerance must be"):
        SteadyStateDetector(bad)


def test_a_straight_fall_is_not_steady_until_it_ends():
    falling = [10.0 - 9.0 * call / 300 for call in range(300)]
    assert stop([*falling, *noisy(1.0, 900)]) > 300


@pytest.mark.parametrize("latency", [0.0, 1e-9, 3600.0])
def test_a_constant_series_is_steady_at_the_first_look(latency):
    assert stop([latency] * 100) == stop([1.0] * 100)


def test_there_is_no_steady_latency_before_the_first_call():
    assert SteadyStateDetector().steady_latency is None
