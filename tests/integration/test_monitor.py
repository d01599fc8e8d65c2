"""What a warm-up missed, on real KServe servers: seen, named, counted, captured, and warm at the next start."""

import json
import re
import time

import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve_server import ONE_AND_TWO
from sample_sets import save
from test_capture import call_grpc, recorded, wait_for

from kserve_warmup.protocols.bodies import Tensor, encode, request

PREDICT = "/v1/models/model:predict"
FRAMEWORKS = ["numba", "jax", pytest.param("torch.compile", marks=pytest.mark.torch)]
CLASSES = {"numba": "Numba", "jax": "Jax", "torch.compile": "Torch"}


def body(rows=2, deep=False):
    row = [[0.5, 1.0]] if deep else [0.5, 1.0]
    return json.dumps({"instances": [row] * rows}).encode()


@pytest.fixture
def known(tmp_path):
    """A set with one shape."""
    return save(tmp_path / "known", [request("v1", body()).with_weight(1.0)])


def counted(server, series):
    text = server.get("/metrics")[1].decode()
    return sum(float(value) for value in re.findall(rf"^{series}(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def launch(start, name, **options):
    server = start(name, script="monitored_models.py", **options)
    server.wait_ready()
    return server


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_shape_that_the_set_lacks_is_named_counted_captured_and_warm_at_the_next_start(
    start, known, tmp_path, framework
):
    seen, name = tmp_path / "seen", CLASSES[framework]
    capture = {"capture_dir": seen, "capture_rate": 1e-9}
    server = launch(start, name, samples=known, **capture)
    assert server.post(PREDICT, body())[0] == 200
    assert counted(server, "kserve_warmup_late_compiles_total") == 0
    assert server.post(PREDICT, body(3, deep=True))[0] == 200
    server.wait_for_log("KSERVE_WARMUP_CAPTURE_DIR")
    assert f"{framework} compiled" in server.log
    assert "_total" in server.log
    assert "no sample that was warmed has this shape" in server.log
    assert counted(server, "kserve_warmup_late_compiles_total") >= 1
    assert counted(server, "kserve_warmup_unseen_requests_total") == 1
    assert [record.body for record in wait_for(seen, 1)] == [body(3, deep=True)]
    server.stop()

    again = launch(start, name, **capture)
    assert again.post(PREDICT, body(3, deep=True))[0] == 200
    assert counted(again, "kserve_warmup_late_compiles_total") == 0


@pytest.mark.parametrize("workers", ONE_AND_TWO)
def test_a_request_over_grpc_that_compiles_is_captured(start, tmp_path, workers):
    def tensors(shape):
        return encode("grpc", [Tensor("x", "FP32", np.ones(shape, np.float32))])[0]

    known = save(tmp_path / "set", [request("grpc", tensors((2, 2))).with_weight(1.0)])
    seen = tmp_path / "seen"
    server = launch(start, "Jax", samples=known, workers=workers, capture_dir=seen, capture_rate=1e-9)
    message = pb.ModelInferRequest.FromString(tensors((5, 7)))
    message.model_name = "model"
    call_grpc(server, message.SerializeToString())
    assert [record.body for record in wait_for(seen, 1)] == [message.SerializeToString()]
    server.wait_for_log("jax compiled")


@pytest.mark.parametrize("workers", ONE_AND_TWO)
def test_every_worker_sees_what_compiles_in_it(start, known, tmp_path, workers):
    seen = tmp_path / "seen"
    server = launch(start, "Jax", samples=known, workers=workers, capture_dir=seen, capture_rate=1e-9)
    assert server.post(PREDICT, body(4))[0] == 200
    assert [record.body for record in wait_for(seen, 1)] == [body(4)]
    server.wait_for_log("jax compiled")


def test_an_unseen_stratum_is_told_without_a_compile_and_without_a_capture(start, known):
    server = launch(start, "LazyJax", samples=known)
    assert server.post(PREDICT, body(1))[0] == 200
    server.wait_for_log("a request of a stratum that was not warmed")
    assert counted(server, "kserve_warmup_unseen_requests_total") == 1
    assert counted(server, "kserve_warmup_late_compiles_total") == 0


def test_a_framework_that_a_request_imports_is_watched_from_then_on(start, known):
    server = launch(start, "LazyJax", samples=known)
    assert server.post(PREDICT, body(3))[0] == 200
    rows = 4
    deadline = time.monotonic() + 30
    while not counted(server, "kserve_warmup_late_compiles_total"):
        assert time.monotonic() < deadline
        assert server.post(PREDICT, body(rows))[0] == 200
        rows += 1
        time.sleep(0.1)


def test_a_request_that_fails_is_neither_counted_nor_captured(start, known, tmp_path):
    server = launch(start, "LazyJax", samples=known, capture_dir=tmp_path / "seen", capture_rate=1e-9)
    assert server.post(PREDICT, b'{"instances": [["a"]]}')[0] >= 400
    assert server.post(PREDICT, body(1))[0] == 200
    server.wait_for_log("a request of a stratum that was not warmed")
    assert [record.body for record in wait_for(tmp_path / "seen", 1)] == [body(1)]
    assert counted(server, "kserve_warmup_unseen_requests_total") == 1


def test_the_watch_can_be_switched_off(start, known, tmp_path):
    server = launch(start, "Jax", samples=known, monitor="false", capture_dir=tmp_path / "seen", capture_rate=1e-9)
    assert server.post(PREDICT, body(3))[0] == 200
    time.sleep(1)
    assert counted(server, "kserve_warmup_late_compiles_total") == 0
    assert recorded(tmp_path / "seen") == []
