"""Hooks and attributes that a model overrides, and what it is told about the requests it gets."""

import json
import threading
import time

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve_server import NOT_STARVED, ONE_AND_TWO, v1_body

INPUT = pb.ModelInferRequest.InferInputTensor(
    name="x", datatype="FP32", shape=[1, 2], contents=pb.InferTensorContents(fp32_contents=[0.5, 0.5])
)


def grpc_infer(server, metadata=(), model="model"):
    """Ask over gRPC; return the answer's values, or the status's name."""
    request = pb.ModelInferRequest(model_name=model, inputs=[INPUT])
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        grpc.channel_ready_future(channel).result(60)
        try:
            answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20, metadata=metadata)
        except grpc.RpcError as error:
            return error.code().name
        return list(answer.outputs[0].contents.int64_contents)


@pytest.mark.parametrize("workers", ONE_AND_TWO)
def test_a_class_that_declares_ready_in_its_body_is_warmed(workers, start_case, v1_set):
    server = start_case("ReadyInBody", samples=v1_set, workers=workers)
    server.wait_ready()
    assert server.predict()[0] > 0


@NOT_STARVED
def test_an_engine_runs_in_each_worker_before_that_one_is_ready(start_case, v1_set, tmp_path):
    server = start_case("Engine", samples=v1_set, workers=2, GATE=tmp_path / "gate")
    server.wait_for_log("Waiting for application startup")
    (tmp_path / "gate").touch()
    server.wait_ready()  # one of them
    coldest = {}
    deadline = time.monotonic() + 60
    while len(coldest) < 2:
        assert time.monotonic() < deadline, server.log[-3000:]
        status, body, _ = server.post("/v1/models/model:predict", v1_body())
        assert status in (200, 503), body
        if status == 200:
            calls, pid = json.loads(body)["predictions"][0]
            coldest.setdefault(pid, calls)
    assert min(coldest.values()) > 0


@pytest.mark.parametrize("kind", ["", "super"])
def test_a_model_is_warmed_once_its_own_engine_is_up_and_refuses_requests_until_then(
    kind, start_case, v1_set, tmp_path
):
    server = start_case("Engine", samples=v1_set, KIND=kind, GATE=tmp_path / "gate")
    server.wait_for_log("Uvicorn running")
    assert server.get("/v2/health/live")[0] == 200
    assert server.get("/v2/models/model/ready")[0] == 503
    assert server.post("/v1/models/model:predict", v1_body())[0] == 503
    assert grpc_infer(server) == "UNAVAILABLE"
    assert server.get("/v2/health/live")[0] == 200
    (tmp_path / "gate").touch()
    server.wait_ready()
    assert server.predict()[0] > 0
    assert server.log.count("AssertionError") == 0  # nothing was sent before the engine was up


def test_the_engine_of_a_plain_model_of_kserves_starts_by_the_same_class(start_case, tmp_path):
    server = start_case("Engine", CONTROL=1, GATE=tmp_path / "gate")
    server.wait_for_log("Uvicorn running")
    (tmp_path / "gate").touch()
    deadline = time.monotonic() + 30
    while server.post("/v1/models/model:predict", v1_body())[0] != 200:
        assert time.monotonic() < deadline, server.log[-3000:]
        time.sleep(0.1)


@pytest.mark.parametrize("how", ["samples", "no samples", "off"])
def test_an_engine_that_runs_as_long_as_the_server_and_says_nothing_keeps_no_model_from_serving(
    how, start_case, v1_set, tmp_path
):
    given = {"samples": {"samples": v1_set}, "no samples": {}, "off": {"samples": v1_set, "enabled": "false"}}[how]
    (tmp_path / "gate").touch()
    server = start_case("Engine", KIND="runs on", GATE=tmp_path / "gate", **given)
    server.wait_ready()
    assert (server.predict()[0] > 0) is (how == "samples")
    server.process.kill()  # KServe waits for such an engine when it is asked to stop


@pytest.mark.parametrize("kind", ["", "super"])
def test_a_models_own_start_runs_before_it_is_warmed(kind, start_case, v1_set):
    server = start_case("OwnStart", samples=v1_set, KIND=kind)
    server.wait_ready()
    assert server.predict()[0] > 0


@pytest.mark.parametrize("kind", ["", "super"])
def test_what_a_model_asks_of_itself_counts_beside_its_warmth(kind, start_case, v1_set, tmp_path):
    server = start_case("OwnHealthy", samples=v1_set, KIND=kind, GATE=tmp_path / "gate")
    server.wait_for_log("Uvicorn running")
    assert server.get("/v2/models/model/ready")[0] == 503
    (tmp_path / "gate").touch()
    server.wait_ready()
    assert server.predict()[0] > 0
    (tmp_path / "gate").unlink()
    assert server.get("/v2/models/model/ready")[0] == 503


def test_a_model_knows_warm_up_requests_and_nobody_outside_can_make_one(start_case, sample_set):
    server = start_case("Marked", samples=sample_set)
    server.wait_ready()
    mark = {"content-type": "application/json", "x-kserve-warmup": "true"}
    status, body, _ = server.post("/v1/models/model:predict", v1_body(), mark)
    assert status == 200, body
    warmups, warming, marked = json.loads(body)["predictions"][0]
    assert warmups > 0
    assert (warming, marked) == (0, 0)
    assert grpc_infer(server, [("x-kserve-warmup", "true")]) == [warmups, 0, 0]


@pytest.mark.parametrize("reloads", ["loop", "thread"])
def test_a_reload_leaves_liveness_and_other_models_alone_and_is_answered_once_it_is_warm(reloads, start_case, v1_set):
    server = start_case("SlowPlain,LazySqlite", samples=v1_set, RELOADS=reloads)
    server.wait_ready("slowplain")
    server.wait_ready("lazysqlite")
    answers = []
    path = "/v2/repository/models/slowplain/load"
    reload = threading.Thread(target=lambda: answers.append(server.post(path, b"")), daemon=True)
    reload.start()
    meanwhile = 0
    while reload.is_alive():
        assert server.get("/v2/health/live")[0] == 200
        assert server.predict("lazysqlite")[0] > 0
        meanwhile += reload.is_alive()
    assert meanwhile > 0
    (answer,) = answers
    assert answer[0] == 200, answer
    assert server.get("/v2/models/slowplain/ready")[0] == 200
    assert server.predict("slowplain")[0] > 0
