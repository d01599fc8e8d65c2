"""Whether a server is ready, in words that gate and verify share."""

import json

import pytest
from hypothesis import given
from hypothesis.strategies import dictionaries, lists, none, recursive, text

from kserve_warmup.transports.exchange import Answer
from kserve_warmup.transports.readiness import NO_KEY, grpc_not_ready, model_names, readiness


def answer(status, document=None, body=None):
    return Answer(status, {}, json.dumps(document).encode() if body is None else body, 0, 0)


def why(*answers, path="/v1/models/m", model="m"):
    asking = readiness(path, model)
    next(asking)
    for one in answers:
        try:
            asking.send(one)
        except StopIteration as end:
            return end.value
    raise AssertionError("it asks for more")


def versions(*states):
    return answer(200, {"model_version_status": [{"version": str(n), "state": s} for n, s in enumerate(states, 1)]})


@pytest.mark.parametrize("states", [["AVAILABLE"], ["END", "AVAILABLE"], ["AVAILABLE", "LOADING"], ["available"]])
def test_tensorflow_serving_is_ready_with_one_version_that_is_available(states):
    assert why(versions(*states)) is None


@pytest.mark.parametrize("states", [[], ["LOADING"], ["START"], ["UNLOADING", "END"], [7]])
def test_tensorflow_serving_is_not_ready_in_any_other_state(states):
    found = why(versions(*states))

    assert found.reason == "m is not ready"
    assert "not AVAILABLE" in found.said


def test_the_error_of_a_version_is_told():
    status = {"version": "1", "state": "END", "status": {"error_message": "no such file\x1b[2J"}}

    assert "END for version 1 (no such file" in why(answer(200, {"model_version_status": [status]})).said
    assert "\x1b" not in why(answer(200, {"model_version_status": [status]})).said


@pytest.mark.parametrize("ready", [False, "False", "false"])
def test_a_body_that_denies_it_counts_more_than_the_status(ready):
    assert why(answer(200, {"name": "m", "ready": ready})).reason == "m is not ready"


@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b'{"ready": true}', b'{"ready": "True"}', b'{"name": "m"}'])
def test_any_other_answer_of_success_is_ready(body):
    assert why(answer(200, body=body)) is None


@given(recursive(none() | text(), lambda inner: lists(inner) | dictionaries(text(), inner)))
def test_no_answer_breaks_it(document):
    assert why(answer(503, document)).reason == "m is not ready"
    why(answer(200, {"model_version_status": document}))
    model_names(answer(200, {"models": document}))
    model_names(answer(200, document))


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_missing_is_named_with_what_gives_it(status):
    found = why(answer(status, body=b"who are you?"))

    assert found.reason == NO_KEY
    assert f"HTTP {status} who are you?; a header is missing" in found.said


@pytest.mark.parametrize(
    ("lists", "names"),
    [
        ([answer(200, {"models": ["a", "b"]})], "a, b"),
        ([answer(200, {"object": "list", "data": [{"id": "a"}]})], "a"),
        ([answer(404), answer(200, {"models": ["a"]})], "a"),
        ([answer(404), answer(404), answer(200, [{"name": "a", "state": "READY"}, {"name": "b"}])], "a, b"),
        ([answer(200, {"models": [f"m{n}" for n in range(30)]})], "m18, m19 and 10 more"),
    ],
)
def test_a_model_that_is_absent_is_told_with_those_that_are_there(lists, names):
    found = why(answer(404), *lists)

    assert found.reason == "the server has no model 'm'"
    assert f"{names}; HTTP 404 at /v1/models/m" in found.said


def test_a_model_that_is_there_and_has_no_such_endpoint_is_not_called_absent():
    found = why(answer(404), answer(200, {"models": ["m"]}))

    assert found.reason == "m is not ready"
    assert "another protocol" in found.said


def test_a_host_that_nothing_is_routed_for_is_hinted_at():
    assert "--header 'host: NAME'" in why(answer(404), answer(404), answer(404), answer(404)).said


def test_nothing_more_is_asked_where_readiness_is_not_a_model_s():
    assert why(answer(404, body=b"nope"), path="/ready", model="the gate").reason == "the gate is not ready"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("gRPC UNAUTHENTICATED: who?", NO_KEY),
        ("gRPC PERMISSION_DENIED: no", NO_KEY),
        ("gRPC NOT_FOUND: no such model", "the server has no model 'm'"),
        ("gRPC UNIMPLEMENTED: ", "what answers there is no inference server"),
        ("gRPC UNAVAILABLE: x", "otherwise"),
        ("no answer within 5 s", "otherwise"),
    ],
)
def test_a_grpc_error_s_code_tells_why(said, reason):
    assert str(grpc_not_ready("m", said, "otherwise")) == f"{reason}: {said}"
