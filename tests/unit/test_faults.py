"""Whose failure is it: the request's, the model's, or that of something which the model needs?"""

import errno
import socket

import grpc
import httpx
import pytest
from fastapi import HTTPException
from kserve.errors import InferenceError, InvalidInput

from kserve_warmup.replay import DependencyAwayError, NoAnswerError, RequestFailedError, RequestRefusedError
from kserve_warmup.serving.faults import failure

REQUEST = httpx.Request("POST", "http://predictor/v1/models/m:predict")


def answered(status):
    return httpx.HTTPStatusError("told so", request=REQUEST, response=httpx.Response(status, request=REQUEST))


def grpc_error(code):
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="told so")


def caused(error, cause):
    error.__cause__ = cause
    return error


def while_handling(error, context):
    error.__context__ = context
    return error


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput("five columns"),
        HTTPException(422, "no such field"),
        answered(400),
        answered(404),
        grpc_error(grpc.StatusCode.INVALID_ARGUMENT),
        grpc_error(grpc.StatusCode.UNAUTHENTICATED),
    ],
)
def test_a_request_that_is_at_fault_is_refused(error):
    assert type(failure(error)) is RequestRefusedError


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no weights"),
        KeyError("x"),
        InferenceError("out of memory"),
        HTTPException(500, "no"),
        answered(500),
        grpc_error(grpc.StatusCode.INTERNAL),
        grpc_error(grpc.StatusCode.DEADLINE_EXCEEDED),
        OSError(errno.ENOENT, "no such file"),
        ConnectionResetError(),
    ],
)
def test_what_the_model_raises_is_its_own_fault(error):
    assert type(failure(error)) is RequestFailedError


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("All connection attempts failed"),
        httpx.ConnectTimeout(""),
        httpx.ReadError("it died under way"),
        httpx.RemoteProtocolError("Server disconnected without sending a response."),
        ConnectionRefusedError(),
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        answered(502),
        answered(503),
        answered(504),
        HTTPException(503, "the predictor is not there"),
        grpc_error(grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_a_dependency_that_is_not_there_is_away(error):
    assert type(failure(error)) is DependencyAwayError


@pytest.mark.parametrize("chain", [caused, while_handling])
def test_a_dependency_that_is_away_is_seen_behind_what_the_model_made_of_it(chain):
    assert type(failure(chain(RuntimeError("cannot ask"), ConnectionRefusedError()))) is DependencyAwayError


def test_an_error_that_is_its_own_cause_ends_all_the_same():
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert type(failure(first)) is RequestFailedError


def test_what_is_classified_already_stays_what_it_is():
    error = NoAnswerError("no answer within 1 s")
    assert failure(error) is error


def test_the_message_is_one_line_with_the_type():
    assert str(failure(ValueError("two\nlines"))) == "ValueError: two lines"
    assert str(failure(KeyError())) == "KeyError"
