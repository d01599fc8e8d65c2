"""Which stratum is called next, and when all are steady? Latencies are in seconds."""

import math

import pytest

from kserve_warmup.steady_judge import SteadyStateJudge, Verdict


def ask(judge, latency, limit=20000):
    """Call as the judge asks; return the strata in the order in which they were asked for."""
    asked, calls = [], {}
    while (stratum := judge.next()) is not None and len(asked) < limit:
        calls[stratum] = calls.get(stratum, 0) + 1
        asked.append(stratum)
        judge.observe(stratum, latency(stratum, calls[stratum]))
    return asked


def test_every_stratum_is_called_once_in_order_before_any_is_called_twice():
    assert ask(SteadyStateJudge("abc"), lambda *_: 1.0)[:6] == ["a", "b", "c", "a", "b", "c"]


def test_a_slow_model_is_called_twice_a_stratum():
    judge = SteadyStateJudge("abc")
    assert len(ask(judge, lambda _, call: 9.0 if call == 1 else 1.0)) == 6
    assert judge.steady
    assert judge.verdict("a") == Verdict(True, 2, 1.0)


def test_a_stratum_that_is_left_out_is_asked_for_no_more_and_keeps_nobody_waiting():
    judge = SteadyStateJudge("ab")
    judge.leave_out("a")
    assert set(ask(judge, lambda *_: 0.003)) == {"b"}
    assert judge.steady


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_a_latency_that_cannot_be_is_refused_and_not_counted(bad):
    judge = SteadyStateJudge("a")
    with pytest.raises(ValueError, match="a latency must be"):
        judge.observe("a", bad)
    assert judge.verdict("a").calls == 0
