"""Which stratum is called next, and when are all steady? Latencies are in seconds."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import strata_together as benchmark
from kserve_warmup import SteadyStateDetector, SteadyStateJudge
from kserve_warmup.steady_judge import Verdict


def ask(judge, latency):
    """Call as the judge asks; ``latency`` of a stratum's n-th call; return the strata in the order of the calls."""
    asked, calls = [], {}
    while (stratum := judge.next()) is not None:
        calls[stratum] = calls.get(stratum, 0) + 1
        asked.append(stratum)
        judge.observe(stratum, latency(stratum, calls[stratum]))
    return asked


def noisy(spread=0.03, seed=0):
    generator = random.Random(seed)
    return lambda level: level * math.exp(generator.gauss(0, spread))


def seconds_of_evidence(asked, level):
    return sum((asked.count(stratum) - 2) * level for stratum in set(asked))


# --- The order of calls ---


@given(st.lists(st.floats(1e-5, 5.0), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_every_stratum_is_called_once_in_order_and_then_once_more_before_any_is_called_again(levels):
    strata = list(range(len(levels)))
    asked = ask(SteadyStateJudge(strata), lambda stratum, _: levels[stratum])
    assert asked[: 2 * len(strata)] == strata * 2


@given(st.integers(1, 12), st.sets(st.integers(0, 11)), st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_a_stratum_that_is_left_out_is_asked_for_no_more_and_keeps_nobody_waiting(count, gone, at):
    judge = SteadyStateJudge(range(count))
    asked = []
    while (stratum := judge.next()) is not None:
        if len(asked) >= at and stratum in gone:
            judge.leave_out(stratum)
            asked = [(other, left or other == stratum) for other, left in asked]
            continue
        asked.append((stratum, False))
        judge.observe(stratum, 0.003)
    after = [stratum for stratum, _ in asked[at:]]
    assert not gone & set(after)
    assert judge.steady


@given(st.integers(1, 8), st.lists(st.floats(1e-4, 1.0), min_size=400, max_size=400))
@settings(max_examples=30, deadline=None)
def test_the_same_latencies_give_the_same_questions(count, latencies):
    def questions():
        judge, values = SteadyStateJudge(range(count), max_calls=30), iter(latencies)
        return ask(judge, lambda *_: next(values)), judge.steady

    assert questions() == questions()


def test_asking_twice_without_an_answer_asks_for_the_same():
    judge = SteadyStateJudge("ab")
    for _ in range(50):
        stratum = judge.next()
        assert judge.next() == stratum
        judge.observe(stratum, 0.001)


def test_a_process_that_is_slower_is_called_no_more_often():
    calls = [len(ask(SteadyStateJudge(range(9)), lambda *_, level=level: level)) for level in (0.001, 0.004, 0.04, 1.0)]
    assert calls == sorted(calls, reverse=True)
    assert calls[-1] == 2 * 9


@pytest.mark.parametrize("unit", [0.5, 0.25, 2.0**-10])
def test_where_evidence_costs_next_to_nothing_only_ratios_count(unit):
    def asked(scale):
        noise = noisy()
        judge = SteadyStateJudge(range(5), max_calls=60)
        return ask(judge, lambda stratum, call: scale * 1e-7 * (1 + stratum) * noise(9 if call == 1 else 1))

    assert asked(1.0) == asked(unit)


# --- What evidence costs ---


def ask_streams(judge, latency):
    """Call as the judge asks; ``latency`` gives first token and time per token of the n-th call, of 100 tokens."""
    took, calls = 0.0, {}
    while (stratum := judge.next()) is not None:
        calls[stratum] = calls.get(stratum, 0) + 1
        first, each = latency(stratum, calls[stratum])
        took += first + 99 * each
        judge.observe(stratum, first, first + 99 * each, each)
    return calls, took


def test_a_streamed_answer_is_paid_for_to_its_end_though_its_first_token_is_what_is_compared():
    calls, took = ask_streams(SteadyStateJudge("ab"), lambda *_: (0.01, 0.002))
    assert took <= 2 * 2 * (0.01 + 99 * 0.002) + 0.5
    assert all(2 <= number <= 4 for number in calls.values())


def test_a_stratum_is_not_steady_while_its_tokens_still_get_faster_though_the_first_one_does_not():
    noise = noisy(0.01)
    calls, _ = ask_streams(SteadyStateJudge("a"), lambda _, n: (noise(0.001), 1e-5 * noise(3 if n < 20 else 1)))
    judge = SteadyStateJudge("a")
    assert calls["a"] > 20
    for n in range(12):
        judge.observe("a", noise(0.1), None, noise(0.01) * (2 - n / 12))
    while judge.next() is not None:
        judge.observe("a", noise(0.1), 30.0, noise(0.01))
    assert judge.verdict("a").reason == "its latency still moves"


@given(st.lists(st.floats(1e-4, 20.0), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_where_nothing_moves_evidence_costs_half_a_second_in_all(levels):
    asked = ask(SteadyStateJudge(range(len(levels))), lambda stratum, _: levels[stratum])
    assert sum((asked.count(stratum) - 2) * level for stratum, level in enumerate(levels)) <= 0.5 + 1e-9


@given(st.integers(1, 300), st.sampled_from([1e-4, 0.001, 0.003, 0.04, 1.0]))
@settings(max_examples=30, deadline=None)
def test_constant_latencies_are_steady_within_few_calls(count, level):
    judge = SteadyStateJudge(range(count))
    assert len(ask(judge, lambda *_: level)) <= max(14 * count, 350)
    assert judge.steady


def test_a_model_of_40_ms_with_nine_strata_is_late_by_no_more_than_half_a_second():
    noise, judge = noisy(), SteadyStateJudge(range(9))
    assert len(ask(judge, lambda _, call: noise(0.05 if call == 1 else 0.04))) <= 2 * 9 + 13
    assert judge.steady


def test_a_very_slow_model_is_called_twice_a_stratum_and_one_stratum_a_third_time_to_see_that_the_second_did_not_pay():
    judge = SteadyStateJudge("abc")
    assert len(ask(judge, lambda _, call: 9.0 if call == 1 else 1.0)) == 7
    assert judge.steady
    assert judge.verdict("c") == Verdict(True, 2, 1.0)


def test_noise_alone_does_not_keep_a_model_waiting():
    noise, judge = noisy(0.3), SteadyStateJudge(range(13))
    assert len(ask(judge, lambda *_: noise(0.008))) <= 150
    assert judge.steady


def test_strata_whose_levels_differ_a_thousandfold_are_judged_and_the_dear_ones_called_less():
    noise, judge = noisy(), SteadyStateJudge(range(7))
    asked = ask(judge, lambda stratum, _: noise(1e-3 * 10 ** (stratum / 2)))
    assert judge.steady
    assert asked.count(0) >= 14
    assert asked.count(6) == 2


# --- What moves ---


def test_a_recompilation_at_the_twelfth_call_of_each_stratum_is_found_in_a_quick_model():
    noise, judge = noisy(), SteadyStateJudge(range(13))
    asked = ask(judge, lambda _, call: noise(0.3 if call in (1, 12) else 0.003))
    assert min(asked.count(stratum) for stratum in range(13)) >= 12
    assert judge.steady


def test_two_strata_that_are_compiled_again_late_take_the_dear_ones_along():
    noise, judge = noisy(), SteadyStateJudge(range(4))
    asked = ask(judge, lambda s, call: noise((0.002 if s < 3 else 0.15) * (90 if call in (1, 12) else 1)))
    assert asked.count(3) >= 12
    assert judge.steady


def test_one_hiccup_of_one_stratum_does_not_take_the_dear_ones_along():
    noise, judge = noisy(), SteadyStateJudge(range(4))
    asked = ask(judge, lambda s, call: noise(0.002 if s < 3 else 0.15) * (9 if (s, call) == (0, 12) else 1))
    assert asked.count(3) <= 5


def test_two_samples_of_different_size_that_take_turns_are_no_fall():
    noise, judge = noisy(), SteadyStateJudge(range(6))
    ask(judge, lambda _, call: noise(0.002 if call % 2 else 0.006))
    assert judge.steady


def test_a_stratum_that_falls_by_itself_gets_the_calls_that_it_needs():
    noise, judge = noisy(0.01), SteadyStateJudge(range(5))
    asked = ask(judge, lambda s, call: noise(0.001 * (1 + (3 * math.exp(-call / 10) if s == 2 else 0))))
    assert asked.count(2) > max(asked.count(stratum) for stratum in (0, 1, 3, 4))
    assert judge.steady


def test_shared_code_that_gets_faster_is_seen_by_the_calls_of_all():
    noise, judge, total = noisy(0.01), SteadyStateJudge(range(8)), []

    def latency(*_):
        total.append(1)
        return noise(0.001 * (1 + 2 * math.exp(-len(total) / 60)))

    assert len(ask(judge, latency)) > 200
    assert judge.steady


def test_what_never_settles_is_given_up_at_max_calls_and_not_called_steady():
    judge = SteadyStateJudge("ab", max_calls=50)
    total = []

    def latency(*_):
        total.append(1)
        return 0.01 / len(total)

    assert len(ask(judge, latency)) == 100
    assert not judge.steady
    assert "fall" in judge.verdict("a").reason or "moves" in judge.verdict("a").reason


def test_a_leak_is_not_called_steady():
    judge, total = SteadyStateJudge("abcd"), []

    def latency(*_):
        total.append(1)
        return 0.002 * (1 + len(total) / 50)

    assert len(ask(judge, latency)) < 500
    assert not judge.steady
    assert "rises" in judge.verdict("a").reason


# --- A second path ---


def known(levels):
    return {stratum: Verdict(True, 14, level) for stratum, level in enumerate(levels)}


def test_the_second_path_of_the_same_strata_needs_a_tenth_of_a_second():
    judge = SteadyStateJudge(range(9), known=known([0.04] * 9))
    asked = ask(judge, lambda _, call: 0.06 if call == 1 else 0.042)
    assert seconds_of_evidence(asked, 0.042) <= 0.1
    assert judge.steady


def test_a_stratum_that_is_at_once_as_fast_as_on_the_first_path_is_called_once():
    judge = SteadyStateJudge("ab", known={name: Verdict(True, 2, 1.0) for name in "ab"})
    assert ask(judge, lambda *_: 0.99) == ["a", "b"]
    assert judge.steady


def test_a_very_slow_model_is_called_no_third_time_on_a_second_path():
    judge = SteadyStateJudge("abc", known={name: Verdict(True, 2, 1.0) for name in "abc"})
    assert len(ask(judge, lambda _, call: 1.3 if call == 1 else 1.01)) == 6
    assert judge.steady


def test_a_model_that_compiles_for_a_second_twice_is_not_taken_for_a_slow_one():
    noise, judge = noisy(), SteadyStateJudge(range(3))
    asked = ask(judge, lambda _, call: noise({1: 3.0, 2: 1.5}.get(call, 0.002)))
    assert min(asked.count(stratum) for stratum in range(3)) >= 14
    assert all(judge.verdict(stratum).level < 0.0025 for stratum in range(3))


def test_a_stratum_that_no_earlier_path_knew_is_looked_at_in_full():
    judge = SteadyStateJudge(range(4), known=known([0.003] * 3))
    assert ask(judge, lambda *_: 0.003).count(3) >= 14


# --- Verdicts ---


def test_nothing_is_steady_before_all_is_judged():
    judge = SteadyStateJudge("a")
    assert judge.verdict("a") == Verdict(False, 0, None, "it was not called")
    for _ in range(10):
        judge.observe(judge.next(), 0.001)
    assert not judge.steady
    assert judge.verdict("a") == Verdict(False, 10, 0.001, "more calls are needed to tell")


def test_a_verdict_is_not_taken_back_and_every_call_is_counted():
    judge = SteadyStateJudge("a")
    asked = ask(judge, lambda *_: 0.001)
    for _ in range(50):
        judge.observe("a", 1.0)
    assert judge.next() is None
    assert judge.verdict("a") == Verdict(True, len(asked) + 50, 0.001)


def test_the_level_is_that_of_the_newest_calls():
    judge = SteadyStateJudge("ab")
    ask(judge, lambda _, call: 0.01 if call < 4 else 0.003)
    assert judge.verdict("b").level == 0.003


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_max_calls_is_kept(calls):
    judge = SteadyStateJudge("abc", max_calls=calls)
    assert ask(judge, lambda *_: 0.001) == [*"abc"] * calls or calls > 2
    assert all(judge.verdict(stratum).calls == calls for stratum in "abc")
    assert judge.steady == (calls > 1)


def test_a_judge_of_nothing_has_nothing_to_ask():
    judge = SteadyStateJudge([])
    assert judge.next() is None
    assert judge.steady


def test_latencies_of_zero_are_allowed():
    judge = SteadyStateJudge("ab", max_calls=100)
    ask(judge, lambda *_: 0.0)
    assert judge.steady


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_latency_that_cannot_be_is_refused_and_not_counted(bad):
    judge = SteadyStateJudge("a")
    with pytest.raises(ValueError, match="a latency must be"):
        judge.observe("a", bad)
    assert judge.verdict("a").calls == 0


@pytest.mark.parametrize("arguments", [{"tolerance": 0.0}, {"tolerance": math.nan}, {"max_calls": 0}])
def test_what_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match="must be a positive number"):
        SteadyStateJudge("ab", **arguments)


def test_a_stratum_that_is_named_twice_is_refused():
    with pytest.raises(ValueError, match="named twice"):
        SteadyStateJudge("aba")


# --- Simulated processes, of other seeds than the constants were chosen on ---


def measured(groups, strata, rule=benchmark.together, speed="3 ms"):
    processes = [process for kinds in groups for process in benchmark.group(kinds, strata, speed, count=10, seed=77)]
    return benchmark.measure(rule, processes)


@pytest.mark.parametrize(("strata", "most"), [(13, 200), (4, 180)])
def test_users_of_ordinary_servers_are_served_near_the_plateau_after_few_calls(strata, most):
    found = measured([benchmark.TUNED["serving"]], strata)
    assert found["calls"] <= most
    assert found["harm"] == 0
    assert found["steady"] >= 0.97
    assert found["within"] >= 0.97


def test_late_recompilations_harm_at_most_one_stratum_in_a_hundred():
    found = measured([benchmark.TUNED["late"], benchmark.SEEN["late"]], 13)
    assert found["harm"] <= 0.01
    assert found["calls"] <= 270


@pytest.mark.parametrize("speed", ["40 ms", "1 s"])
def test_slow_servers_are_late_by_no_more_than_a_second_or_half_of_what_could_not_be_saved(speed):
    assert measured([benchmark.TUNED["serving"], benchmark.SEEN["serving"]], 13, speed=speed)["within"] >= 0.97


def test_code_that_is_compiled_as_it_is_used_is_followed():
    found = measured([benchmark.TUNED["shared"]], 13)
    assert found["harm"] <= 0.05


def test_one_stratum_is_judged_no_worse_than_by_the_detector():
    kinds = [benchmark.TUNED["serving"], benchmark.TUNED["shared"]]
    ours, theirs = measured(kinds, 1), measured(kinds, 1, rule=benchmark.alone)
    assert ours["harm"] <= theirs["harm"] + 0.01
    assert SteadyStateDetector().calls == 0
