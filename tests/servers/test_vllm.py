"""The gate before a real vLLM, started twice: first users, of each kind of request, are served as later ones are."""

import pytest
from llm_servers import KINDS, vllm
from real_server import START_SECONDS

from kserve_warmup import WarmupReport
from kserve_warmup.latency import measure

FEW = 150
"""Calls of a warm-up of three strata, which takes about 25; of one it took 778 before evidence had a price."""


def first_and_later(served, kind):
    """Measure the first requests of a kind."""
    requests = [served.server.requests[kind](number) for number in range(100, 112)]
    return measure(requests, served.target(requests[0]), len(requests))


def answered(served):
    """Return how many requests the server counts as answered."""
    text = served.get("/metrics")
    lines = [line for line in text.splitlines() if line.startswith("vllm:request_success_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_chats_streams_and_structured_output_are_warm_for_their_first_users_after_a_restart(start, gate, figures):
    cold = start(vllm())
    cold.wait_ready()
    before = {kind: first_and_later(cold, kind) for kind in KINDS}
    guard = gate(cold, "traffic", "--concurrency", "1,4")
    guard.wait_phase("ready")

    cold.stop()
    assert not guard.wait(lambda state: not state["ready"])["ready"]
    warm = start(cold.server, instead_of=cold)
    state = guard.wait(lambda state: state["ready"], START_SECONDS)
    report = WarmupReport.from_json(guard.get("/report")[1])

    assert state["warmups"] == 2
    assert answered(warm) >= report.calls + 4 * report.levels[0].calls  # before any user was
    assert {s.variant for s in report.strata} == {
        "max_tokens=16",
        "max_tokens=16 stream",
        "max_tokens=16 response_format=json_schema",
    }
    assert report.coverage + report.unsteady == pytest.approx(1)
    assert report.calls < FEW
    assert [bool(s.per_token_ms) for s in report.strata] == ["stream" in s.variant for s in report.strata]
    assert [level.at_once for level in report.levels] == [4]
    after = {kind: first_and_later(warm, kind) for kind in KINDS}
    ratios = ", ".join(f"{kind} {before[kind].ratio:.2f} → {after[kind].ratio:.2f}" for kind in KINDS)
    figures(f"vLLM: first ÷ steady cold → gate: {ratios}; {report.calls} calls in {report.seconds:.1f} s")
