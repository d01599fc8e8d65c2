"""The replay loop, over a transport whose latencies the test decides."""

import asyncio
import json

import pytest

from kserve_warmup import WarmupReport, WarmupSettings
from kserve_warmup.replay import RequestFailedError, replay
from kserve_warmup.samples.wire import request


def sample(rows, weight, value=0.0):
    body = json.dumps({"instances": [[value, float(row)] for row in range(rows)]}).encode()
    return request("v1", body, weight=weight)


class Scripted:
    """Answers after the latency that the test gives, without waiting for it."""

    name = "scripted"

    def __init__(self, latency=lambda _sample, _call: 0.001, hang=lambda _sample: False):
        self.latency, self.hang, self.sent = latency, hang, []

    async def send(self, sample):
        self.sent.append(sample)
        if self.hang(sample):
            await asyncio.sleep(3600)
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
    report = run([sample(1, 1.0)], Scripted(lambda _s, call: 1.0 if call < 5 else 0.001))
    (stratum,) = report.strata
    assert stratum.converged
    assert stratum.first_ms == 1000
    assert stratum.steady_ms == pytest.approx(1, rel=0.1)
    assert 5 < stratum.calls < 500
    assert report.calls == stratum.calls == len(stratum.latencies_ms)


def test_the_samples_of_a_stratum_take_turns():
    transport = Scripted()
    run([sample(1, 0.5, 1.0), sample(1, 0.5, 2.0)], transport)
    assert transport.sent[0].body != transport.sent[1].body
    assert transport.sent[0].body == transport.sent[2].body


def test_a_latency_that_never_settles_stops_at_the_cap_and_is_reported_as_not_converged():
    report = run([sample(1, 1.0)], Scripted(lambda _s, call: 0.001 * 1.2**call), max_calls=40)
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


def test_a_hang_is_cut_and_reported():
    stuck = sample(2, 0.1)
    report = run([sample(1, 0.9), stuck], Scripted(hang=lambda s: s is stuck), request_timeout=0.05)
    assert "no answer within 0.05 s" in report.failed[0].error
    assert report.strata[0].converged


def test_a_spent_budget_leaves_the_rarest_strata_and_the_report_says_so():
    async def slow(_sample):
        await asyncio.sleep(0.05)
        return 0.05

    transport = Scripted()
    transport.send = slow
    report = run([sample(1, 0.9), sample(2, 0.1)], transport, max_seconds=0.3)
    assert report.strata[0].calls > report.strata[1].calls == 1
    assert not report.converged


def test_a_request_that_the_end_of_the_budget_cuts_has_not_failed():
    report = run([sample(1, 1.0)], Scripted(hang=lambda _s: True), max_seconds=0.1, request_timeout=30)
    (stratum,) = report.strata
    assert report.failed == ()
    assert stratum.failures == 0
    assert "budget" in stratum.error


def test_a_stratum_that_the_budget_never_reached_is_named():
    stuck, rare = sample(1, 0.9), sample(2, 0.1)
    report = run([stuck, rare], Scripted(hang=lambda s: s is stuck), max_seconds=0.1, request_timeout=30)
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
