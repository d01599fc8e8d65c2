"""The replay loop, over a transport whose latencies the test decides."""

import asyncio
import dataclasses
import json
import time

import pytest

from kserve_warmup import SampleSet, WarmupReport, WarmupSettings
from kserve_warmup.protocols.bodies import request
from kserve_warmup.replay import (
    DependencyAwayError,
    NoAnswerError,
    NotHereError,
    RequestFailedError,
    RequestRefusedError,
    replay,
)
from kserve_warmup.report import Level
from kserve_warmup.token_latency import TokenLatency
from kserve_warmup.views import figures


def sample(rows, weight, value=0.0):
    body = json.dumps({"instances": [[value, float(row)] for row in range(rows)]}).encode()
    return request("v1", body, weight=weight)


class Scripted:
    """Answers after the latency that the test gives, without waiting for it."""

    name = "scripted"

    def __init__(self, latency=lambda _sample, _call: 0.001):
        self.latency, self.sent = latency, []

    async def send(self, sample):
        self.sent.append(sample)
        result = self.latency(sample, len(self.sent))
        if isinstance(result, Exception):
            raise result
        return result


def run(samples, transport, **settings):
    return asyncio.run(replay(samples, transport, WarmupSettings(**settings), "model"))


def test_every_stratum_is_called_once_before_any_is_warmed_and_the_largest_share_goes_first():
    transport = Scripted()
    rare, common = sample(2, 0.1), sample(1, 0.9)
    run([rare, common], transport)
    assert [s.batch for s in transport.sent[:3]] == [1, 2, 1]


def test_a_stratum_is_warmed_until_its_latency_is_steady():
    report = run([sample(1, 1.0)], Scripted(lambda _s, call: 0.02 if call < 5 else 0.001))
    (stratum,) = report.strata
    assert stratum.converged
    assert stratum.first_ms == 20
    assert stratum.steady_ms == pytest.approx(1, rel=0.1)
    assert 5 < stratum.calls < 500
    assert report.calls == stratum.calls == len(stratum.latencies_ms)


def test_the_samples_of_a_stratum_take_turns():
    transport = Scripted()
    run([sample(1, 0.5, 1.0), sample(1, 0.5, 2.0)], transport)
    assert transport.sent[0].body != transport.sent[1].body
    assert transport.sent[0].body == transport.sent[2].body


def test_a_latency_that_never_settles_stops_at_the_cap_and_is_reported_as_not_converged():
    report = run([sample(1, 1.0)], Scripted(lambda _s, call: 0.001 * 0.97**call), max_calls=40)
    assert report.calls == 40
    assert not report.converged
    assert "NOT steady" in report.summary()


def test_a_sample_that_fails_is_skipped_and_its_stratum_goes_on_with_the_others():
    bad, good = sample(1, 0.5, 1.0), sample(1, 0.5, 2.0)
    transport = Scripted(lambda s, _c: RequestFailedError("HTTP 400: no") if s is bad else 0.001)
    report = run([bad, good], transport)
    (stratum,) = report.strata
    assert transport.sent.count(bad) == 1
    assert stratum.warmed
    assert stratum.failures == 1
    assert bad.id[:12] in stratum.error
    assert report.failed == ()


def test_a_stratum_whose_every_sample_fails_is_not_covered():
    bad, good = sample(1, 0.25), sample(2, 0.75)
    report = run([bad, good], Scripted(lambda s, _c: RequestFailedError("HTTP 500") if s is bad else 0.001))
    assert report.coverage == 0.75
    assert [s.batch for s in report.failed] == [1]
    assert not report.converged


def test_a_request_that_was_never_answered_is_a_failure_of_its_sample_and_the_others_go_on():
    stuck = sample(2, 0.1)
    hang = NoAnswerError("no answer within 0.05 s")
    report = run([sample(1, 0.9), stuck], Scripted(lambda s, _c: hang if s is stuck else 0.001))
    assert "no answer within 0.05 s" in report.failed[0].error
    assert report.strata[0].converged


def test_a_refused_request_is_left_out_and_its_stratum_is_refused_and_not_failed():
    odd = sample(2, 0.25)
    report = run([odd, sample(1, 0.75)], Scripted(lambda s, _c: RequestRefusedError("five") if s is odd else 0.001))
    assert report.failed == ()
    (refused,) = report.refused
    assert (refused.batch, refused.share, refused.failures, refused.refused) == (2, 0.25, 0, 1)
    assert report.strata[0].converged


def test_a_stratum_with_a_refused_and_a_faulty_sample_has_failed():
    odd, bad = sample(1, 0.5, 1.0), sample(1, 0.5, 2.0)
    report = run([odd, bad], Scripted(lambda s, _c: (RequestRefusedError if s is odd else RequestFailedError)("no")))
    (failed,) = report.failed
    assert (failed.refused, failed.failures) == (1, 1)


def test_what_cannot_be_judged_here_is_neither_a_failure_nor_a_refusal():
    report = run([sample(1, 1.0)], Scripted(lambda *_: NotHereError("it suspends")))
    (stratum,) = report.strata
    assert (stratum.failures, stratum.refused, stratum.error) == (0, 0, None)
    assert report.failed == report.refused == ()


def test_a_dependency_that_is_away_ends_the_replay_with_nothing_held_against_the_model():
    with pytest.raises(DependencyAwayError, match="nobody there"):
        run([sample(1, 1.0)], Scripted(lambda *_: DependencyAwayError("nobody there")))


def test_a_spent_budget_leaves_the_rarest_strata_and_the_report_says_so():
    def third_call_spends_it(_sample, call):
        if call == 3:
            time.sleep(1)
        return 0.001

    report = run([sample(1, 0.9), sample(2, 0.1)], Scripted(third_call_spends_it), max_seconds=1)
    assert report.strata[0].calls > report.strata[1].calls == 1
    assert not report.converged


def test_a_request_that_was_begun_gets_its_answer_whatever_is_left_of_the_budget():
    async def slow(_sample):
        await asyncio.sleep(0.2)
        return 0.2

    transport = Scripted()
    transport.send = slow
    report = run([sample(1, 1.0)], transport, max_seconds=0.05)
    (stratum,) = report.strata
    assert (stratum.calls, stratum.warmed, stratum.failures) == (1, True, 0)


def test_a_hang_after_which_nothing_is_left_of_the_budget_has_failed_all_the_same():
    async def hang(_sample):
        await asyncio.sleep(0.1)
        raise NoAnswerError("no answer within 0.1 s")

    transport = Scripted()
    transport.send = hang
    report = run([sample(1, 0.9), sample(2, 0.1)], transport, max_seconds=0.05)
    assert [s.batch for s in report.failed] == [1]


def test_a_stratum_that_the_budget_never_reached_is_named():
    async def slow(_sample):
        await asyncio.sleep(0.1)
        return 0.1

    transport = Scripted()
    transport.send = slow
    report = run([sample(1, 0.9), sample(2, 0.1)], transport, max_seconds=0.05)
    assert report.strata[1].calls == 0
    assert "not reached" in report.strata[1].error
    assert report.coverage == 0


def test_a_report_survives_json():
    report = run([sample(1, 0.5), sample(2, 0.5)], Scripted())
    again = WarmupReport.from_json(report.to_json())
    assert again == report
    data = json.loads(report.to_json())
    assert data.keys() >= {"schema", "model", "transport", "seconds", "calls", "converged", "coverage", "strata"}
    assert data["strata"][0].keys() >= {"calls", "seconds", "first_ms", "steady_ms", "converged", "failures", "error"}


def test_two_reports_join_into_the_first_latency_of_one_and_the_steady_latency_of_the_other():
    cold = run([sample(1, 1.0)], Scripted(lambda _s, call: 1.0 if call == 1 else 0.001))
    wire = run([sample(1, 1.0)], Scripted(lambda _s, _c: 0.003))
    joined = cold.then(wire)
    (stratum,) = joined.strata
    assert stratum.first_ms == 1000
    assert stratum.steady_ms == pytest.approx(3)
    assert joined.calls == cold.calls + wire.calls
    assert joined.coverage == 1.0


def test_a_sample_whose_file_has_changed_fails_by_itself(tmp_path):
    class Reading(Scripted):
        async def send(self, sample):
            assert sample.body
            return await super().send(sample)

    SampleSet("model", (sample(1, 0.6), sample(2, 0.4))).save(tmp_path / "set")
    opened = SampleSet.open(tmp_path / "set")
    (tmp_path / "set" / "bodies" / f"{opened.samples[0].id}.json").write_text("{}")
    first, second = run(opened, Reading()).strata
    assert (first.failures, first.warmed, second.converged) == (1, False, True)
    assert "has 2 bytes instead of" in first.error


def test_strata_that_differ_in_their_way_through_the_server_are_warmed_and_reported_each():
    paths = ("/v1/models/m:predict", "/v1/models/m:explain")
    signed = [request("v1", b'{"instances": [1], "signature_name": "decode"}', weight=0.1)]
    report = run([request("v1", b'{"instances": [1]}', path=p, weight=0.4) for p in paths] + signed, Scripted())
    assert [s.variant for s in report.strata] == ["", "explain", "signature_name=decode"]
    assert len({s.key for s in report.strata}) == len(report.then(report).strata) == 3
    assert [figures.stratum(s) for s in report.strata][2] == "v1 instances:INT64[N] signature_name=decode \u00d7 1"


def test_a_long_answer_is_paid_for_to_its_end_though_its_first_token_came_at_once():
    class Streams(Scripted):
        async def send(self, sample):
            await asyncio.sleep(0.3)
            return await super().send(sample)

    (stratum,) = run([sample(1, 1.0)], Streams(lambda *_: TokenLatency(0.001, per_token=0.002))).strata
    assert stratum.calls <= 2 + 2  # half a second of evidence, and one call more
    assert stratum.per_token_ms == pytest.approx([2.0] * stratum.calls)


def test_answers_of_any_length_are_compared_at_that_of_the_first():
    answers = (TokenLatency(0.01 * tokens, tokens=tokens) for tokens in range(1, 1000))
    (stratum,) = run([sample(1, 1.0)], Scripted(lambda *_: next(answers))).strata
    assert stratum.latencies_ms == pytest.approx([10.0] * stratum.calls)
    assert stratum.converged


def test_a_report_of_several_requests_at_once_is_read_as_it_was_written():
    report = run([sample(1, 1.0)], Scripted(lambda *_: TokenLatency(0.001, per_token=0.002)))
    told = dataclasses.replace(report, levels=(Level(8, 0.5, report.strata),))
    assert WarmupReport.from_json(told.to_json()) == told
