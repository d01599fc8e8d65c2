"""When the tokens of an answer came, as its body and the times of its pieces tell."""

import json

import pytest

from kserve_warmup.token_latency import SameLength, TokenLatency, in_ms, per_token_of, slowest
from kserve_warmup.transports.exchange import KEPT_BYTES, Answer, Exchange
from kserve_warmup.transports.token_times import of_stream, of_whole

STARTED = 100.0
ROLE = {"choices": [{"delta": {"role": "assistant", "content": ""}}]}
END = {"choices": [{"delta": {}, "finish_reason": "length"}]}


def says(text):
    return {"choices": [{"delta": {"content": text}}]}


def event(document):
    text = document if isinstance(document, str) else json.dumps(document)
    return f"data: {text}\n\n".encode()


def streamed(*arrivals):
    """Return the answer whose pieces came so many seconds after the request."""
    body, pieces = b"", []
    for seconds, piece in arrivals:
        body += piece if isinstance(piece, bytes) else event(piece)
        pieces.append((len(body), STARTED + seconds))
    return Answer(200, {}, body, pieces[0][1], pieces[-1][1], tuple(pieces))


def test_a_stream_tells_when_its_first_token_came_and_how_long_each_further_one_took():
    taken = of_stream(streamed((1, says("a")), (1.5, says("b")), (3, says("c")), (3.1, "[DONE]")), STARTED)
    assert taken == pytest.approx(1)
    assert per_token_of(taken) == pytest.approx(1)


@pytest.mark.parametrize(
    "opening",
    [
        ROLE,
        b": a comment\n\n",
        {"choices": []},
        {"type": "response.created", "response": {}},
        b"event: start\n",
    ],
)
def test_a_stream_that_is_opened_before_there_is_a_token_counts_until_the_token(opening):
    taken = of_stream(streamed((0.01, opening), (2, says("a")), (4, says("b"))), STARTED)
    assert taken == pytest.approx(2)
    assert per_token_of(taken) == pytest.approx(2)


@pytest.mark.parametrize(
    "token",
    [
        says(""),  # a part of a letter
        {"choices": [{"text": ""}]},
        {"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]},
        {"choices": [{"delta": {"reasoning_content": "hm"}}]},
        {"choices": [{"delta": {"role": "assistant", "content": "a"}}]},
        {"type": "response.output_text.delta", "delta": "a"},
        {"model_name": "llm", "text_output": "a"},
        "text",
    ],
)
def test_what_carries_a_token_in_any_protocol_counts(token):
    taken = of_stream(streamed((1, ROLE), (2, token), (3, token), (9, END), (9, "[DONE]")), STARTED)
    assert taken == pytest.approx(2)
    assert per_token_of(taken) == pytest.approx(1)


def test_events_that_come_in_parts_or_together_count_when_they_are_whole():
    first, second, third = (event(says(text)) for text in "abc")
    taken = of_stream(streamed((1, first[:9]), (2, first[9:] + second), (4, third)), STARTED)
    assert taken == pytest.approx(2)
    assert per_token_of(taken) == pytest.approx(1)


def test_one_token_has_no_time_between_and_a_stream_that_says_nothing_counts_until_its_first_byte():
    assert per_token_of(of_stream(streamed((1, ROLE), (2, says("a"))), STARTED)) is None
    assert of_stream(streamed((1, ROLE), (2, END)), STARTED) == pytest.approx(1)


def test_of_a_stream_that_is_longer_than_what_is_kept_the_beginning_is_judged():
    piece = b"data: " + b"x" * (KEPT_BYTES // 2 - 8) + b"\n\n"
    exchange = Exchange("server")
    exchange.ask("GET", "/", {}, None)
    exchange.feed(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + piece + piece)
    answer = None
    for part in (piece, piece, b""):
        while not exchange.hungry and answer is None:
            answer = exchange.advance()
        if answer is None:
            exchange.feed(part)
            answer = exchange.advance()
    assert answer is not None
    assert len(answer.body) == answer.pieces[-1][0] == KEPT_BYTES
    assert per_token_of(of_stream(answer, 0.0)) is not None


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [({"completion_tokens": 7}, 7), ({"output_tokens": 3}, 3), ({"prompt_tokens": 9}, None), (None, None), (5, None)],
)
def test_a_whole_answer_tells_its_number_of_tokens_if_it_has_one(usage, tokens):
    body = json.dumps({"choices": [], "usage": usage}).encode()
    taken = of_whole(Answer(200, {}, body, 101.0, 104.0), STARTED)
    assert taken == pytest.approx(4)
    assert getattr(taken, "tokens", None) == tokens


@pytest.mark.parametrize("body", [b"", b'{"usage": ', b'["usage"]', b'"usage"', b'{"usage": {"completion_tokens": 0}}'])
def test_what_is_no_answer_of_tokens_counts_as_it_is(body):
    assert type(of_whole(Answer(200, {}, body, 101.0, 104.0), STARTED)) is float


def test_answers_of_other_lengths_are_compared_at_the_first_ones():
    length = SameLength()
    assert length.compared(TokenLatency(2.0, tokens=10)) == pytest.approx(2.0)
    assert length.compared(TokenLatency(8.0, tokens=40)) == pytest.approx(2.0)
    assert length.compared(3.0) == pytest.approx(3.0)  # an answer that does not tell


def test_requests_at_once_take_as_long_as_the_slowest_and_per_token_as_most():
    taken = slowest([TokenLatency(1, per_token=0.1), TokenLatency(3, per_token=0.3), TokenLatency(2, per_token=0.2)])
    assert (taken, per_token_of(taken)) == (3, 0.2)
    assert slowest([1.0, 2.0]) == 2.0
    assert per_token_of(in_ms(taken)) == pytest.approx(200)
