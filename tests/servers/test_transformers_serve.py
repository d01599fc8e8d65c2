"""The gate before a real ``transformers serve``: chats and streams, again after a restart, and several at once."""

from llm_servers import transformers

from kserve_warmup import WarmupReport
from kserve_warmup.latency import measure


def first_and_later(served, kind):
    requests = [served.server.requests[kind](number) for number in range(100, 112)]
    return measure(requests, served.target(requests[0]), len(requests))


def test_chats_and_streams_are_warm_for_their_first_users_after_a_restart(start, gate, figures):
    cold = start(transformers())
    cold.wait_ready()
    before = {kind: first_and_later(cold, kind) for kind in ("chat", "stream")}
    guard = gate(cold, "traffic")
    guard.wait_phase("ready")

    cold.stop()
    assert not guard.wait(lambda state: not state["ready"])["ready"]
    warm = start(cold.server, instead_of=cold)
    assert guard.wait(lambda state: state["ready"], 200)["warmups"] == 2
    report = WarmupReport.from_json(guard.get("/report")[1])
    after = {kind: first_and_later(warm, kind) for kind in before}

    assert [s.failures + s.refused for s in report.strata] == [0, 0]
    assert {bool(s.per_token_ms) for s in report.strata} == {True, False}
    ratios = ", ".join(f"{kind} {before[kind].ratio:.2f} → {after[kind].ratio:.2f}" for kind in before)
    figures(f"transformers serve: first ÷ steady cold → gate: {ratios}; {report.calls} calls in {report.seconds:.1f} s")


def test_several_requests_at_once_are_told_by_level_and_answers_may_be_cut(start, gate):
    served = start(transformers())
    guard = gate(served, "traffic", "--concurrency", "1,3,2", "--max-tokens", "2")
    guard.wait(lambda state: state["ready"], 200)
    report = WarmupReport.from_json(guard.get("/report")[1])

    assert [level.at_once for level in report.levels] == [2, 3]
    assert [s.failures + s.refused for level in report.levels for s in level.strata] == [0] * 4
    assert "3 requests at once: " in guard.stop()
