"""How often a block has to run, judged from the times of its calls; and where those times come from."""

import random

import pytest

from kserve_warmup.triton.blocks import Block
from kserve_warmup.triton.disposable import calls, durations
from kserve_warmup.triton.search import Search, judge, limited


def block(name="b", count=50):
    return Block(name, 1, count, (), "all")


def series(slow, length=64, plateau=0.002, seed=0, noise=0.03):
    """Make ``slow`` dear calls and then a plateau with a little noise."""
    chance = random.Random(seed)
    return [0.05] * slow + [plateau * (1 + chance.uniform(-noise, noise)) for _ in range(length - slow)]


def found_in(own, blocks=None):
    """Search where each start gives a block the calls that ``own`` makes of it; return the search and all counts."""
    search = Search(blocks or [block(name) for name in own])
    starts = []
    again = True
    while again:
        starts.append(search.counts())
        again = search.learn(
            {name: {"i": own[name](length, len(starts))[:length]} for name, length in starts[-1].items() if name in own}
        )
    return search, starts


def result_of(make):
    search, starts = found_in({"b": make})
    return search.results()[0], sum(count for counts in starts for count in counts.values())


@pytest.mark.parametrize("slow", [0, 1, 2, 7, 20])
def test_the_count_is_one_call_more_than_were_needed_in_fewer_executions_than_two_times_sixty_four(slow):
    result, executions = result_of(lambda _, start: series(slow, seed=start))
    assert (result.count, result.steady) == (max(2, slow + 1), True)
    assert result.steady_ms == pytest.approx(2, rel=0.03)
    assert executions < 128


def test_a_single_late_compilation_is_needed_too():
    def late(_, start):
        latencies = series(1, seed=start)
        latencies[10] = 0.04
        return latencies

    assert result_of(late)[0].count == 12


def test_a_late_compilation_of_one_block_is_looked_for_in_the_others():
    def late(call):
        def make(*_):
            return [0.04 if n == call else 0.01 for n in range(100)]

        return make

    search, _ = found_in({name: late(11) for name in "abcdefghi"})
    assert {result.count for result in search.results()} == {13}


def test_a_hiccup_in_one_start_is_not_taken_for_a_compilation():
    def hiccup(length, start):
        latencies = series(2, seed=start)
        if length > 9 and start == 2:
            latencies[9] = 0.2
        return latencies

    assert result_of(hiccup)[0].count == 3


def test_a_small_step_is_needed_although_no_call_is_dear():
    def step(_, start):
        return [v * (1.3 if n < 12 else 1) for n, v in enumerate(series(0, 200, seed=start, noise=0.001))]

    assert 8 <= result_of(step)[0].count <= 13


def test_slow_blocks_are_judged_by_few_calls():
    slow = {name: lambda length, _: [0.5] * length for name in "abc"}
    search, starts = found_in(slow)
    assert {result.count for result in search.results()} == {2}
    assert sum(sum(counts.values()) for counts in starts) <= 26  # and no scout: thirty calls take too long


def test_wild_noise_below_a_millisecond_is_hardly_ever_taken_for_warming_up():
    chance, found = random.Random(0), []

    def noisy(length, _):
        return [2.0, *(0.0002 * (1 + chance.expovariate(1)) for _ in range(length - 1))]

    for _ in range(20):
        search, starts = found_in(dict.fromkeys("abcd", noisy))
        found.append(sum(result.count for result in search.results()))
        assert sum(sum(counts.values()) for counts in starts) < 4 * 128
    assert sorted(found)[17] <= 4 * 4


def test_the_slowest_instance_sets_the_count():
    result = judge([block()], {"b": {"i": series(3), "j": series(12)}})["b"]
    assert (result.count, result.steady) == (13, True)
    assert result.first_ms == 50
    assert result.cost.seconds(13) == pytest.approx(12 * 0.05 + 0.002, rel=0.01)


def test_what_is_still_moving_gets_more_calls_and_in_the_end_all_that_were_tried():
    result, _ = result_of(lambda length, _: [1 / n for n in range(1, length + 1)])
    assert not result.steady
    assert result.count >= 64
    assert result.problem == f"not steady after {result.count:,} calls"


def test_the_next_starts_are_longer_only_for_what_is_not_settled():
    _, starts = found_in(
        {"a": lambda _, start: series(1, seed=start), "b": lambda length, _: [1 / n for n in range(1, length + 1)]}
    )
    assert [counts["a"] for counts in starts[2:]] == [2] * len(starts[2:])
    assert starts[-1]["b"] > starts[1]["b"]


def test_calls_that_take_too_long_are_not_tried_with_more():
    _, executions = result_of(lambda length, _: [100 / n for n in range(1, length + 1)])
    assert executions <= 10


def test_a_block_that_failed_is_left_out_once():
    search = Search([block("a"), block("b")])
    assert search.leave_out("a", "it crashed")
    assert search.counts() == {"b": 3}
    assert not search.leave_out("a", "it crashed")
    assert not search.leave_out("of somebody else", "it crashed")


def test_the_block_of_a_sequence_runs_once():
    search, starts = found_in({}, [block(count=1)])
    assert starts == [{"b": 1}]
    assert search.results()[0].count == 1


def test_a_block_whose_calls_were_not_timed_says_so():
    search, _ = found_in({}, [block()])
    assert search.results()[0].count == 2
    assert "no times" in search.results()[0].problem


def test_a_budget_cuts_what_was_found_and_leaves_the_rarest_out():
    found = judge([block("a"), block("b")], {"a": {"i": [0.5, 0.1, 0.1]}, "b": {"i": [0.5, 0.1, 0.1]}})
    assert [r.count for r in limited(list(found.values()), None)] == [2, 2]
    assert [r.count for r in limited(list(found.values()), 1.15)] == [2, 1]
    cut = limited(list(found.values()), 0.9)
    assert [r.count for r in cut] == [2, None]
    assert cut[1].problem == "--max-seconds 0.9 does not reach it"


def line(clock, block, number, instance="m_0_0", model="m"):
    text = f"model '{model}' instance {instance} is running warmup sample '{block}' for iteration {number}"
    return f'I1124 {clock} 32381 backend_model_instance.cc:608] "{text}"'


def test_calls_are_timed_from_the_log_by_block_and_instance():
    log = "\n".join(
        [
            line("11:42:21.806858", "it's", 1),
            "I1124 11:42:21.900000 1 x.cc:1] other",
            line("11:42:21.806900", "it's", 1, "m_0_1"),
            line("11:42:21.906858", "it's", 2),
            line("11:42:21.908858", 'b \\"2\\"', 1),
            line("11:42:21.916900", "it's", 2, "m_0_1"),
            line("11:42:22.000000", "it's", 1, model="other"),
        ]
    )
    found = durations(calls(log, "m"))
    assert found == {"it's": {"m_0_0": pytest.approx([0.1, 0.002]), "m_0_1": pytest.approx([0.11])}}
    assert [c.block for c in calls(log, "m")][-2] == 'b "2"'


def test_a_log_without_quotes_is_read_too():
    text = line("11:42:21.806858", "b", 1).replace('"', "")
    assert [c.number for c in calls(text, "m")] == [1]
