"""Chats, completions, embeddings and rerankings of KServe's OpenAI models: warm before anybody is let in."""

import time

import pytest
from openai_requests import JSON, chat, encoding, generative, kserve_openai, post, said, sample_set, status

MARK = JSON | {"x-kserve-warmup": "true"}
COLD = 10
"""How many times as long as a later one a cold model's first request takes, at the very least: it is hundreds."""


@pytest.fixture
def chats(tmp_path):
    return sample_set(tmp_path / "chats", generative())


def wait_for_log(server, text, seconds=180):
    deadline = time.monotonic() + seconds
    while text not in server.log:
        assert time.monotonic() < deadline, f"{text!r} not in the log"
        server.alive()
        time.sleep(0.05)


def seconds(served, document):
    started = time.perf_counter()
    assert post(served, document)[0] == 200
    return time.perf_counter() - started


def test_whoever_asks_first_asks_a_warm_model_by_every_endpoint_and_a_cold_one_of_kserves_own(start, tmp_path, figures):
    sample_set(tmp_path / "sets" / "chat", generative(chat("refuse", logprobs=True)), "chat")
    sample_set(tmp_path / "sets" / "texts", encoding(), "texts")
    warm = start(kserve_openai("Chat,Texts", samples=tmp_path / "sets"))
    cold = start(kserve_openai("Chat", CONTROL="1"))
    wait_for_log(warm, "Uvicorn running")
    for model, documents in (("chat", generative()), ("texts", encoding())):
        for document in documents:
            answer = said(warm, document, model, MARK)
            assert answer["before"] > 0
            assert answer["marked"] == answer["told"] > 0
            assert answer["this"] == [False, False]  # what comes from outside is no warm-up, whatever it says
    assert "the model refuses" in warm.log

    cold.wait_ready()
    first, *rest = [seconds(cold, chat("hello")) for _ in range(9)]
    assert first > COLD * sorted(rest)[4]
    figures(f"a chat of a plain OpenAIGenerativeModel: cold first ÷ steady {first / sorted(rest)[4]:.0f}")


def test_a_model_that_says_no_in_load_and_has_an_engine_is_warmed_once_that_is_up(start, chats):
    served = start(kserve_openai("Engine", samples=chats))
    wait_for_log(served, "Uvicorn running")
    assert status(served, "/v2/health/live") == 200
    assert status(served, "/v2/models/model/ready") == 503
    assert status(served, "/openai/v1/models/model") == 503
    assert post(served, chat("hello"))[0] == 503

    gate = served.place.folder / "gate"
    gate.touch()
    served.wait_ready()
    assert said(served, chat("hello"))["before"] > 0
    assert status(served, "/openai/v1/models/model") == 200

    gate.unlink()  # what the model asks of itself counts as before
    assert status(served, "/v2/models/model/ready") == 503


def test_without_load_and_with_the_base_class_behind_kserves_own_a_model_is_warmed_too(start, chats):
    served = start(kserve_openai("MixinLast,Unloaded", samples=chats))
    wait_for_log(served, "Uvicorn running")
    for model in ("mixinlast", "unloaded"):
        assert said(served, chat("hello"), model)["before"] > 0


def test_a_proxy_model_waits_for_its_upstream_and_marks_what_it_sends_there(start, tmp_path):
    upstream = kserve_openai("Chat", CONTROL="1", KSERVE_OPENAI_ROUTE_PREFIX="")
    place = upstream.place(tmp_path / "upstream")
    chats = sample_set(tmp_path / "chats", [chat("hello"), {"prompt": "once"}])  # KServe's own answers 500 to streams
    served = start(kserve_openai("Proxy", samples=chats, UPSTREAM=f"http://127.0.0.1:{place.http}"))
    wait_for_log(served, "not ready, waiting for what it needs")
    wait_for_log(served, "Uvicorn running")
    assert status(served, "/v2/models/model/ready") == 503

    start(upstream, place=place).wait_ready()
    served.wait_ready()
    answer = said(served, chat("hello"), headers=MARK)
    assert answer["before"] > 0
    assert answer["marked"] > 0
    assert answer["this"] == [False, False]


def test_a_chat_that_meets_a_fault_ends_the_server_with_one_line_under_any_prefix(start, tmp_path):
    made = sample_set(tmp_path / "set", [chat("fail")])
    served = start(kserve_openai("Chat", samples=made, KSERVE_OPENAI_ROUTE_PREFIX="llm"))  # where it is called there
    assert served.process.wait(180) == 1
    assert "cannot be warmed over rest" in served.log.strip().splitlines()[-1]
    assert "this model has no weights" in served.log.strip().splitlines()[-1]


def test_what_a_chat_model_has_recorded_warms_its_next_start(start, tmp_path):
    capture = {"KSERVE_WARMUP_CAPTURE_DIR": str(tmp_path / "seen"), "KSERVE_WARMUP_CAPTURE_RATE": "1"}
    first = start(kserve_openai("Chat", **capture))
    first.wait_ready()
    assert said(first, chat("hello"))["before"] == 0
    assert post(first, chat("refuse"))[0] == 400
    first.stop()
    again = start(kserve_openai("Chat", **capture))
    again.wait_ready()
    assert "1 strata" in again.log
    assert said(again, chat("hello"))["before"] > 0
