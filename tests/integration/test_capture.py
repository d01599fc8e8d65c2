"""Models that record their own traffic on real KServe servers."""

import json
import time

import grpc
import numpy as np
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve_server import ONE_AND_TWO, v1_body

from kserve_warmup.protocols.bodies import Tensor, encode
from kserve_warmup.sampling.formats.jsonl import read
from kserve_warmup.sampling.formats.record import Part, ReadOptions

INFER = "/v2/models/model/infer"
OWN = "kserve-warmup-20260501T080000.000000-0123abcd.jsonl"


def tensor_body(protocol):
    return encode(protocol, [Tensor("x", "FP32", np.array([[0.5, 0.25]], np.float32))], request_id="7")


def recorded(folder):
    files = sorted((folder / "model").iterdir()) if (folder / "model").is_dir() else []
    return [record for file in files for record in read(Part.whole(file), ReadOptions())]


def wait_for(folder, count):
    deadline = time.monotonic() + 10
    while len(recorded(folder)) < count:
        assert time.monotonic() < deadline, recorded(folder)
        time.sleep(0.05)
    return recorded(folder)


def call_grpc(server, body):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        deadline = time.monotonic() + 60  # with several workers gRPC is a process of its own, ready later or earlier
        while not stub.ModelReady(pb.ModelReadyRequest(name="model")).ready:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return stub.ModelInfer(pb.ModelInferRequest.FromString(body))


@pytest.mark.parametrize("workers", ONE_AND_TWO)
def test_every_protocol_is_recorded_byte_for_byte_and_warm_up_is_not(start, sample_set, tmp_path, workers):
    server = start("OwnLoad", samples=sample_set, workers=workers, capture_dir=tmp_path / "seen", capture_rate=1)
    server.wait_ready()
    json_body = b' {"instances": [[0.5,  1.0]]}'
    server.post(
        "/v1/models/model:predict", json_body, {"content-type": "application/json", "authorization": "Bearer x"}
    )
    v2, _ = tensor_body("v2")
    server.post(INFER, v2)
    binary, headers = tensor_body("v2-binary")
    server.post(INFER, binary, headers)
    message = pb.ModelInferRequest.FromString(tensor_body("grpc")[0])
    message.model_name = "model"
    call_grpc(server, message.SerializeToString())
    found = wait_for(tmp_path / "seen", 4)
    assert sorted((r.protocol, r.body) for r in found) == sorted(
        [("v1", json_body), ("v2", v2), ("v2-binary", binary), ("grpc", message.SerializeToString())]
    )
    by_protocol = {r.protocol: r for r in found}
    assert by_protocol["v2"].path == "/v2/models/{model}/infer"
    assert by_protocol["v2-binary"].headers == headers
    assert all("authorization" not in r.headers and r.status == 200 and abs(r.time - time.time()) < 100 for r in found)
    status, metrics = server.get("/metrics")
    assert (status, b"kserve_warmup_captured_total" in metrics) == (200, True)


def test_failed_marked_and_other_requests_are_not_recorded(start, v1_set, tmp_path):
    server = start("OwnLoad", samples=v1_set, capture_dir=tmp_path / "seen", capture_rate=1)
    server.wait_ready()
    assert server.post("/v1/models/model:predict", b'{"instances": ')[0] >= 400
    assert server.post("/v1/models/other:predict", v1_body())[0] == 404
    server.get("/v1/models/model")
    marked = {"content-type": "application/json", "x-kserve-warmup": "true"}
    assert server.post("/v1/models/model:predict", v1_body(), marked)[0] == 200
    broken = pb.ModelInferRequest(model_name="model", raw_input_contents=[b"both"])
    broken.inputs.add(name="x", datatype="FP32", shape=[1]).contents.fp32_contents.append(1)
    with pytest.raises(grpc.RpcError):
        call_grpc(server, broken.SerializeToString())
    server.post("/v1/models/model:predict", v1_body(3))
    assert [r.body for r in wait_for(tmp_path / "seen", 1)] == [v1_body(3)]
    server.process.terminate()
    server.process.wait(20)
    assert len(recorded(tmp_path / "seen")) == 1


def test_the_next_start_warms_with_what_this_one_saw(start, tmp_path):
    options = {"capture_dir": tmp_path / "seen", "capture_rate": 1, "report": tmp_path / "report.json"}
    server = start("OwnLoad", **options)
    server.wait_ready()
    assert server.predict(rows=3)[0] == 0  # nothing to warm with yet
    server.process.terminate()
    server.process.wait(20)
    assert len(recorded(tmp_path / "seen")) == 1
    server = start("OwnLoad", **options)
    server.wait_ready()
    report = json.loads((tmp_path / "report.json").read_text())
    assert [(s["protocol"], s["batch"]) for s in report["strata"]] == [("v1", 3)]
    assert server.predict(rows=3)[0] == report["calls"]


def test_recorded_requests_that_the_model_now_refuses_do_not_keep_it_from_serving(start, tmp_path):
    folder = tmp_path / "seen" / "model"
    folder.mkdir(parents=True)
    (folder / OWN).write_bytes(b'{"instances": "no list"}\n{"inputs": [[1, 2]]}\n')
    server = start("OwnLoad", capture_dir=tmp_path / "seen")
    server.wait_ready()
    server.wait_for_log("these requests are served COLD")


def test_a_sample_set_that_was_given_wins_over_recorded_requests(start, v1_set, tmp_path):
    folder = tmp_path / "seen" / "model"
    folder.mkdir(parents=True)
    (folder / OWN).write_bytes(v1_body(7) + b"\n")
    server = start("OwnLoad", samples=v1_set, capture_dir=tmp_path / "seen", report=tmp_path / "report.json")
    server.wait_ready()
    strata = json.loads((tmp_path / "report.json").read_text())["strata"]
    assert sorted(s["batch"] for s in strata) == [1, 2]


def test_a_server_serves_and_says_so_when_its_requests_must_not_be_recorded(start, v1_set, tmp_path):
    (tmp_path / "seen").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious.jsonl").write_bytes(v1_body(7) + b"\n")
    (tmp_path / "seen" / "model").symlink_to(tmp_path / "elsewhere")
    server = start("OwnLoad", samples=v1_set, capture_dir=tmp_path / "seen", capture_rate=1)
    server.wait_ready()
    assert server.post("/v1/models/model:predict", v1_body())[0] == 200
    server.wait_for_log("its requests are NOT recorded")
    server.process.terminate()
    server.process.wait(20)
    assert [f.name for f in (tmp_path / "elsewhere").iterdir()] == ["precious.jsonl"]


def test_rules_that_cannot_be_used_are_one_clear_line(start, v1_set, tmp_path):
    server = start("OwnLoad", samples=v1_set, capture_dir=tmp_path / "seen", capture_scrub=tmp_path / "nowhere.yaml")
    assert server.process.wait(60) != 0
    assert "nowhere.yaml: cannot be read" in server.log
