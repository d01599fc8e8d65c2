"""Servers with an API of their own: where they are asked says whoever runs the command, and nothing recorded."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from strategies import v1_sample

from kserve_warmup.errors import SampleError, WarmupError
from kserve_warmup.gate.main import build
from kserve_warmup.gate.options import checked
from kserve_warmup.latency import Target, send
from kserve_warmup.protocols.bodies import request
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.transports.endpoints import OwnPaths

SAMPLE = v1_sample(1, 1, 1)


class OwnApi(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: set[str]

    def do_GET(self) -> None:
        self.asked.add(f"GET {self.path}")
        self._answer(200 if self.path == "/health/digits" else 404)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.asked.add(f"POST {self.path}")
        self._answer(200 if self.path == "/digits/predict" else 404)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server():
    handler = type("Handler", (OwnApi,), {"asked": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}", handler.asked
        web.shutdown()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved(SAMPLE, tmp_path)


def saved(sample: Sample, tmp_path: Path) -> Path:
    made = SampleSet(model="digits", source="", created="2026-01-01", selection={}, coverage=1.0, samples=(sample,))
    return made.save(tmp_path / "set")


def test_the_gate_asks_a_server_at_the_paths_that_it_was_given_and_at_none_of_a_known_api(server, folder):
    url, asked = server
    plan = checked(url, folder, path="/{model}/predict", ready="/health/{model}", max_calls=8)

    assert asyncio.run(build(plan).warmed())
    assert asked == {"GET /health/digits", "GET /metrics", "POST /digits/predict"}


def test_a_request_is_measured_at_the_path_that_was_given(server):
    url, asked = server
    assert json.loads(send(SAMPLE, Target(url, "digits", path="/digits/predict"))) == {}
    assert asked == {"POST /digits/predict"}


@pytest.mark.parametrize("path", ["", "predict", "http://other/predict", "/a b", "/a\r\nhost: x", "/a#b", "/é"])
def test_what_is_no_path_is_refused_in_one_line(path):
    for option in ("path", "ready"):
        with pytest.raises(WarmupError, match=rf"^--{option} .*: write a path on the server, such as /predict"):
            OwnPaths(**{option: path})


def test_where_readiness_is_told_has_to_be_said_too_before_anything_is_sent(server, folder):
    url, asked = server
    with pytest.raises(WarmupError, match=r"^--path /predict: say too .* --ready /health \(LitServe\), /readyz"):
        checked(url, folder, path="/predict")
    assert not asked


def test_a_models_name_cannot_leave_its_place_in_a_path():
    paths = OwnPaths("/{model}/predict", "/health")
    assert paths.path_for("a b") == "/a%20b/predict"
    assert paths.ready_for("a/b") == "/health"
    for name in ("a/b", "..", "%2e"):
        with pytest.raises(SampleError, match="no server has a model called"):
            paths.path_for(name)


@pytest.mark.parametrize(
    "paths", [{"path": "/{model}", "ready": "/health"}, {"path": "/", "ready": "/{model}"}], ids=str
)
def test_a_name_that_has_no_place_in_a_path_is_refused_before_anything_is_sent(server, tmp_path, paths):
    url, asked = server
    chat = request("openai", b'{"messages": [{"role": "user", "content": "Hi"}]}')  # whose own path has no name in it
    folder = saved(chat, tmp_path)
    checked(url, folder, model="a/b", path="/", ready="/health")
    with pytest.raises(SampleError, match="no server has a model called"):
        checked(url, folder, model="a/b", **paths)
    assert not asked
