"""How a model wants to be asked, by what a server tells of it, and what comes of a server that tells nothing."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from kserve_warmup.protocols.bodies import Tensor, encode, request
from kserve_warmup.replay import RequestRefusedError
from kserve_warmup.transports.model_kind import PLAIN, ModelKind, read_kind

TENSORS = request("v2", encode("v2", [Tensor("x", "FP32", np.zeros((1, 2), np.float32))])[0])
GENERATE = request("v1", b'{"text_input": "hi"}', path="/v2/models/m/generate")
CHAT = request("openai", b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}')

STEPS = {"control_input": [{"control": [{"kind": "CONTROL_SEQUENCE_CORRID", "data_type": "TYPE_INT32"}]}]}


def ensemble(*members):
    return {"ensemble_scheduling": {"step": [{"model_name": member} for member in members]}}


class Configs(ThreadingHTTPServer):
    """Answers each model's configuration, and notes which were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.configs: dict[str, object] = {}
        self.asked: list[str] = []


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        model = self.path.split("/")[3]
        self.server.asked.append(model)
        found = self.server.configs.get(model)
        body = found if isinstance(found, bytes) else json.dumps(found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Configs]:
    with Configs() as made:
        threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
        yield made
        made.shutdown()


def kind(server, *samples, **configs) -> ModelKind:
    server.configs = configs
    url = f"http://127.0.0.1:{server.server_port}"
    return asyncio.run(read_kind(samples or (TENSORS,), "m", url, None, {}))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"name": "m"}, PLAIN),
        ({"model_transaction_policy": {"decoupled": True}}, ModelKind(decoupled=True)),
        ({"sequence_batching": {"direct": {}, "control_input": []}}, ModelKind(sequence="TYPE_UINT64")),
        ({"sequence_batching": STEPS}, ModelKind(sequence="TYPE_INT32")),
        ({"sequence_batching": {"iterative_sequence": True}}, PLAIN),  # whose sequences Triton makes itself
        ({"sequence_batching": 3, "model_transaction_policy": [], "ensemble_scheduling": "x"}, PLAIN),
    ],
)
def test_a_configuration_tells_how_a_model_is_asked(server, config, expected):
    assert kind(server, m=config) == expected


def test_members_of_an_ensemble_tell_too_and_each_is_asked_once(server):
    found = kind(server, m=ensemble("a", "b"), a=ensemble("b", "m"), b={"sequence_batching": STEPS})
    assert found == ModelKind(sequence="TYPE_INT32")
    assert server.asked == ["m", "a", "b"]


def test_an_ensemble_without_end_is_not_followed_for_ever(server):
    members = [f"m{number}" for number in range(500)]
    kind(server, m=ensemble(*members), **{member: {} for member in members})
    assert len(server.asked) <= 64


@pytest.mark.parametrize("sample", [GENERATE, CHAT])
def test_a_server_is_asked_only_where_tensors_are_sent(server, sample):
    assert kind(server, sample, m={"sequence_batching": STEPS}) == PLAIN
    assert server.asked == []


@pytest.mark.parametrize(("config", "why"), [(None, "HTTP 404"), (b"[]", "no JSON object"), (b"<html>", "no JSON")])
def test_what_cannot_be_read_is_told_only_where_a_model_wants_to_be_asked_otherwise(server, config, why):
    found = kind(server, m=config)
    assert not found.decoupled
    assert found.sequence is None
    refused = RequestRefusedError("HTTP 400: must specify the START flag on the first request of the sequence")
    assert why in str(found.explained(refused))
    other = RequestRefusedError("HTTP 400: unexpected shape")
    assert found.explained(other) is other
