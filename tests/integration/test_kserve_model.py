"""WarmupModel on real KServe servers, each in a fresh process."""

import json
import time
import urllib.request

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve_server import NOT_STARVED, v1_body
from sample_sets import samples, save

from kserve_warmup import WarmupReport

TRIES_SOON = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100)]
"""Refused connections are tried again ever later, by default up to minutes: past the warm-up that is looked at."""


@pytest.mark.parametrize(
    ("target", "paths"),
    [
        ("OwnLoad", "in_process, rest, grpc"),
        ("LoadModel", "in_process, rest, grpc"),
        ("ResponseHeaders", "in_process, rest, grpc"),
        # what is not complete when load() ends, or needs a loop, is warmed where it is served
        ("LoadsInInit", "rest, grpc"),
        ("LazyAsyncClient", "rest, grpc"),
        ("AsyncLoadModel", "rest, grpc"),
    ],
)
def test_the_first_request_after_ready_meets_a_model_that_every_protocol_has_warmed(
    target, paths, start, sample_set, tmp_path
):
    server = start(target, samples=sample_set, report=tmp_path / "report.json")
    server.wait_ready()
    calls_before, _ = server.predict()
    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    assert report.transport == paths
    assert {s.protocol for s in report.strata} == {"v1", "v2", "v2-binary", "grpc"}
    assert all(s.warmed for s in report.strata)
    assert report.coverage + report.unsteady == pytest.approx(1)
    assert calls_before == report.calls


def test_a_plain_kserve_model_is_cold_when_it_says_ready(start, sample_set):
    server = start("Plain", samples=sample_set)
    server.wait_ready()
    assert server.predict()[0] == 0


def test_a_probe_of_v2_does_not_bring_back_the_warnings_that_warming_v1_has_shown(start, v1_set):
    server = start("OwnLoad", samples=v1_set)
    server.wait_ready()  # asks v2
    before = len(server.log)
    server.predict()
    assert "Warning" not in server.log[before:]


def test_warm_up_can_be_turned_off(start, sample_set):
    server = start("OwnLoad", samples=sample_set, enabled="false")
    server.wait_ready()
    assert server.predict()[0] == 0


def test_a_generator_answer_is_drained(start, v1_set):
    server = start("Generator", samples=v1_set)
    server.wait_ready()
    assert server.predict()[0] > 0


def test_warm_up_requests_carry_a_header_and_real_ones_do_not(start, v1_set):
    server = start("ResponseHeaders", samples=v1_set)
    server.wait_ready()
    _, _, headers = server.post("/v1/models/model:predict", v1_body())
    assert headers["x-warm"] == "false"


def test_http_answers_nothing_before_the_model_is_warm(start, v1_set):
    server = start("SlowPredict", samples=v1_set, max_calls=5)
    deadline = time.monotonic() + 60
    while (answer := server.get("/v2/models/model/ready")) is None:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.02)
    assert answer[0] == 200
    assert server.predict()[0] > 5


def test_grpc_is_unavailable_until_the_model_is_warm_and_starts_no_second_load(start, v1_set):
    server = start("SlowAsyncPredict", samples=v1_set, max_calls=15, LOAD_SECONDS=0)  # which leaves the loop to others
    request = pb.ModelInferRequest(
        model_name="model",
        inputs=[
            pb.ModelInferRequest.InferInputTensor(
                name="x", datatype="FP32", shape=[1, 2], contents=pb.InferTensorContents(fp32_contents=[0.5, 0.5])
            )
        ],
    )
    refused, answered = set(), []
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}", options=TRIES_SOON) as channel:
        stub = GRPCInferenceServiceStub(channel)

        def infer():
            answered.append(stub.ModelInfer(request, timeout=20).outputs[0].contents.int64_contents[0])

        grpc.channel_ready_future(channel).result(60)
        while server.get("/") is None:
            ready = stub.ModelReady(pb.ModelReadyRequest(name="model"), timeout=20).ready
            try:
                infer()
            except grpc.RpcError as error:
                refused.add((error.code().name, ready))
        server.wait_ready()
        infer()
    assert refused == {("UNAVAILABLE", False)}
    # The last ones may fall between warm and the opening of HTTP: no call of the warm-up comes after them.
    assert answered == list(range(answered[0], answered[0] + len(answered)))
    assert answered[0] > 3  # two calls at least for each of the two strata


@pytest.mark.parametrize("target", ["OwnLoad", "LazyAsyncClient"])
@NOT_STARVED
def test_every_worker_is_warm_before_it_answers_also_one_that_replaces_a_dead_one(target, start, sample_set):
    server = start(target, samples=sample_set, workers=2)
    server.wait_ready()
    coldest = _coldest_by_process(server, 2)
    assert min(coldest.values()) >= 6
    victim = next(iter(coldest))
    import os
    import signal

    os.kill(victim, signal.SIGKILL)
    replaced = _coldest_by_process(server, 2, without=victim)
    assert min(replaced.values()) >= 6


def _coldest_by_process(server, count, without=None):
    """Ask until ``count`` processes have answered; return the fewest calls that each had made before."""
    seen = {}
    deadline = time.monotonic() + 90
    while len(seen) < count:
        assert time.monotonic() < deadline, (seen, server.log[-3000:])
        try:
            calls, pid = server.predict()
        except (OSError, urllib.request.HTTPError):
            continue  # the connection was the dead worker's
        if pid != without:
            seen[pid] = min(calls, seen.get(pid, calls))
        time.sleep(0.005)
    return seen


@NOT_STARVED
def test_grpc_of_a_server_with_workers_is_warm_too(start, sample_set):
    server = start("LazyAsyncClient", samples=sample_set, workers=2)
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        grpc.channel_ready_future(channel).result(60)
        deadline = time.monotonic() + 60
        while not stub.ModelReady(pb.ModelReadyRequest(name="model")).ready:
            assert time.monotonic() < deadline, server.log
            time.sleep(0.1)
        request = pb.ModelInferRequest(
            model_name="model",
            inputs=[
                pb.ModelInferRequest.InferInputTensor(
                    name="x", datatype="FP32", shape=[1, 2], contents=pb.InferTensorContents(fp32_contents=[0.5, 0.5])
                )
            ],
        )
        calls_before, pid = stub.ModelInfer(request).outputs[0].contents.int64_contents
    assert calls_before >= 8
    assert pid == server.process.pid


@NOT_STARVED
def test_a_long_load_in_workers_is_not_killed_and_not_repeated(start, v1_set):
    server = start("SlowLoad", samples=v1_set, workers=2, LOAD_SECONDS=20)
    server.wait_ready(seconds=120)
    _coldest_by_process(server, 2)
    assert server.log.count("loading ") == 3  # the parent, and each worker once


def test_several_models_are_each_warm(start, v1_set):
    server = start("OwnLoad,LazyAsyncClient", samples=v1_set)
    server.wait_ready("ownload")
    server.wait_ready("lazyasyncclient")
    assert server.predict("ownload")[0] > 2
    assert server.predict("lazyasyncclient")[0] > 2


def test_a_model_that_waits_for_its_turn_to_be_warmed_does_not_say_ready_in_between(start, v1_set):
    server = start("SlowAsyncPredict,OwnLoad", samples=v1_set, max_calls=10)
    answers = []
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}", options=TRIES_SOON) as channel:
        stub = GRPCInferenceServiceStub(channel)
        grpc.channel_ready_future(channel).result(60)
        while server.get("/") is None:
            answers.append(stub.ModelReady(pb.ModelReadyRequest(name="ownload"), timeout=20).ready)
    assert answers[0] is False
    assert answers == sorted(answers)


def test_each_model_takes_its_own_sample_set_from_a_folder_of_sets(start, tmp_path):
    save(tmp_path / "sets" / "ownload", samples("v1", rows=(1,)), "ownload")
    save(tmp_path / "sets" / "loadmodel", samples("v1", rows=(3,)), "loadmodel")
    server = start("OwnLoad,LoadModel", samples=tmp_path / "sets")
    server.wait_ready("ownload")
    metrics = server.get("/metrics")[1].decode()
    assert 'kserve_warmup_converged{batch="1",model_name="ownload"' in metrics
    assert 'kserve_warmup_converged{batch="3",model_name="loadmodel"' in metrics


def test_request_histograms_count_real_requests_only(start, sample_set):
    server = start("OwnLoad", samples=sample_set)
    server.wait_ready()
    before = _series(server)
    server.predict()
    after = _series(server)
    for stage in ("preprocess", "predict", "postprocess"):
        assert before.get(f'request_{stage}_seconds_count{{model_name="model"}}', 0) == 0
        assert after[f'request_{stage}_seconds_count{{model_name="model"}}'] == 1


def _series(server):
    lines = server.get("/metrics")[1].decode().splitlines()
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_thousands_of_warm_up_requests_leave_a_handful_of_log_lines(start, sample_set):
    server = start("OwnLoad", samples=sample_set)
    server.wait_ready()
    assert server.log.count("requestId") < 30
    assert "model: warm: " in server.log or "NOT steady" in server.log


def test_serve_runs_a_class_from_the_command_line(start, v1_set):
    import sys

    server = start(
        None,
        samples=v1_set,
        command=[sys.executable, "-m", "kserve_warmup", "serve", "predictors:OwnLoad", "--model_name", "model"],
    )
    server.wait_ready()
    assert server.predict()[0] > 2


def test_a_model_that_was_recorded_under_another_name_is_warmed_all_the_same(start, tmp_path):
    made = samples("v1", "v2")
    server = start("OwnLoad", samples=save(tmp_path / "other", made, "digits"), report=tmp_path / "report.json")
    server.wait_ready()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["coverage"] + report["unsteady"] == pytest.approx(1)
