"""How often a block has to run, judged from the times of its calls; and where those times come from."""

import random

import pytest

from kserve_warmup.triton.blocks import Block
from kserve_warmup.triton.search import Search, judge, settled
from kserve_warmup.triton.warmup_log import calls, durations


def block(name="b", count=50):
    return Block(name, 1, count, (), "all")


def series(slow, length=64, plateau=0.002, seed=0, noise=0.03):
    """Make ``slow`` dear calls and then a plateau with a little noise."""
    chance = random.Random(seed)
    return [0.05] * slow + [plateau * (1 + chance.uniform(-noise, noise)) for _ in range(length - slow)]


@pytest.mark.parametrize("slow", [0, 1, 2, 7, 20])
def test_the_calls_that_were_needed_are_counted(slow):
    needed, plateau = settled(series(slow))
    assert needed == slow
    assert plateau == pytest.approx(0.002, rel=0.03)


def test_a_single_late_compilation_is_needed_too():
    latencies = series(1)
    latencies[15] = 0.04
    assert settled(latencies)[0] == 16


def test_a_hiccup_on_the_plateau_is_noise():
    latencies = series(3)
    latencies[50] = 0.006
    assert settled(latencies)[0] == 3


def test_a_small_step_is_needed_although_no_call_is_dear():
    latencies = [v * (1.3 if n < 12 else 1) for n, v in enumerate(series(0, noise=0.001))]
    assert 8 <= settled(latencies)[0] <= 12


def test_the_slowest_instance_sets_the_count_with_some_to_spare():
    result = judge(block(), [series(3), series(12)], last=False)
    assert (result.count, result.steady) == (15, True)
    assert judge(block(), [series(0)], last=False).count == 2


def test_what_is_still_moving_gets_more_calls_and_in_the_end_all_that_were_tried():
    falling = [1 / n for n in range(1, 65)]
    assert judge(block(), [falling], last=False) is None
    result = judge(block(), [falling], last=True)
    assert (result.count, result.steady, result.problem) == (64, False, "not steady after 64 calls")


def test_a_hiccup_in_one_of_two_rounds_is_not_taken_for_a_compilation():
    search = Search([block()])
    first, second = series(2), series(2, seed=1)
    first[20] = second[9] = 0.2
    assert search.learn({"b": {"i": first}})
    assert not search.learn({"b": {"i": second}})
    assert search.counts() == {"b": 4}


def test_the_next_rounds_are_longer_only_for_what_is_not_settled():
    search = Search([block("a"), block("b")])
    falling = [1 / n for n in range(1, 65)]
    for _ in range(2):
        again = search.learn({"a": {"i": series(5)}, "b": {"i": falling}})
    assert again
    assert search.counts() == {"a": 7, "b": 192}


def test_calls_that_take_too_long_are_not_tried_with_more():
    search = Search([block()])
    for _ in range(2):
        again = search.learn({"b": {"i": [100 / n for n in range(1, 65)]}})
    assert not again
    assert search.results()[0].problem == "not steady after 64 calls"


def test_a_block_that_failed_is_left_out_once():
    search = Search([block("a"), block("b")])
    assert search.leave_out("a", "it crashed")
    assert search.counts() == {"b": 64}
    assert not search.leave_out("a", "it crashed")
    assert not search.leave_out("of somebody else", "it crashed")


def test_the_block_of_a_sequence_runs_once():
    search = Search([block(count=1)])
    assert search.counts() == {"b": 1}
    for _ in range(2):
        again = search.learn({})
    assert not again
    assert search.results()[0].count == 1


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
