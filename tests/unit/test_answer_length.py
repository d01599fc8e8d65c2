"""Warm-up requests for shorter answers, where an operator asks for them."""

import json

import pytest

from kserve_warmup.protocols.answer_length import with_fewer_tokens
from kserve_warmup.protocols.bodies import request

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.7}


def sample(path="/v1/chat/completions", **fields):
    return request("openai", json.dumps(CHAT | fields).encode(), path=path)


def cut(sample, most=8):
    return json.loads(with_fewer_tokens(sample, most).body)


def test_only_the_length_of_the_answer_changes_and_the_stratum_stays():
    long = sample(max_tokens=500, stream=True)
    shorter = with_fewer_tokens(long, 8)
    assert json.loads(shorter.body) == CHAT | {"max_tokens": 8, "stream": True}
    assert shorter.stratum == long.stratum
    assert shorter.id != long.id


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (sample(), {"max_tokens": 8}),
        (sample(max_completion_tokens=99), {"max_completion_tokens": 8}),
        (sample(max_completion_tokens=99, max_tokens=50), {"max_completion_tokens": 8, "max_tokens": 8}),
        (sample(max_tokens=None), {"max_tokens": 8}),
        (sample("/v1/responses"), {"max_output_tokens": 8}),
    ],
)
def test_the_field_that_a_request_has_is_lowered_or_the_endpoints_own_is_added(asked, expected):
    assert cut(asked) == CHAT | expected


@pytest.mark.parametrize(
    "asked",
    [
        sample(max_tokens=8),
        sample(max_tokens=500, min_tokens=100),  # fewer would be refused
        request("openai", b'{"model": "m", "input": "a text"}', path="/v1/embeddings"),
        request("openai", b'{"prompt": "a", "max_tokens": 500}', path="/v2/models/m/generate"),
        request("v1", b'{"instances": [[1.0]], "max_tokens": 500}'),
    ],
)
def test_what_asks_for_no_more_or_generates_nothing_stays_byte_for_byte(asked):
    assert with_fewer_tokens(asked, 8) is asked
