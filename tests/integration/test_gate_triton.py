"""The gate before a real tritonserver: ensembles, batches that the batcher makes, models loaded anew in place."""

import json

import pytest
from gate_process import GateProcess
from triton_repository import OUTPUT, Repository, X, load, sample, tensor

from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton.tritonserver import TritonServer

ENSEMBLE = """platform: "ensemble"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling { step [ { model_name: "m" model_version: -1
  input_map { key: "X" value: "X" } output_map { key: "Y" value: "Y" } } ] }
"""
BATCHER = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 2000 }\n"


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path)
    made.add("m", OUTPUT + X + BATCHER)
    folder = made.models / "pipeline"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(ENSEMBLE)
    return made


def sample_set(tmp_path, model):
    made = (sample(tensor(), protocol="v2", weight=0.6), sample(tensor(), protocol="grpc", weight=0.4))
    return SampleSet(model, made).save(tmp_path / f"{model}-samples")


def gate_for(server, folder):
    return GateProcess(server.http_url, folder, "--grpc", server.grpc_url)


def test_an_ensemble_is_warmed_down_to_the_models_it_is_made_of(repository, tmp_path):
    with (
        TritonServer(repository.models, env=repository.env) as server,
        gate_for(server, sample_set(tmp_path, "pipeline")) as gate,
    ):
        gate.wait_phase("ready")
        report = json.loads(gate.get("/report")[1])

    assert {s["protocol"] for s in report["strata"]} == {"v2", "grpc"}
    assert len(repository.calls("m")) >= report["calls"]


def test_batches_that_no_single_request_has_are_formed_before_ready(repository, tmp_path):
    with (
        TritonServer(repository.models, env=repository.env) as server,
        gate_for(server, sample_set(tmp_path, "m")) as g,
    ):
        g.wait_phase("ready")

    gathered = {len(call) for call in repository.calls("m")}
    assert 1 in gathered
    assert max(gathered) > 2


def test_a_model_that_is_loaded_anew_in_place_is_warmed_again(repository, tmp_path):
    arguments = ["--model-control-mode=explicit", "--load-model=m"]
    with (
        TritonServer(repository.models, arguments, env=repository.env) as server,
        gate_for(server, sample_set(tmp_path, "m")) as gate,
    ):
        gate.wait_phase("ready")
        (repository.models / "m" / "config.pbtxt").write_text(
            OUTPUT + X + BATCHER + "\n# changed\nversion_policy { all {} }\n"
        )
        assert load(server, "m")[0] == 200
        state = gate.wait(lambda s: s["warmups"] == 2 and s["ready"])

    assert state["calls"] >= 2 * 2  # two calls a stratum at the least


def test_a_model_that_is_not_loaded_is_waited_for(repository, tmp_path):
    arguments = ["--model-control-mode=explicit"]
    with (
        TritonServer(repository.models, arguments, env=repository.env) as server,
        gate_for(server, sample_set(tmp_path, "m")) as gate,
    ):
        assert gate.wait(lambda s: "ready" in s["detail"])["detail"] == "m is not ready"
        assert load(server, "m")[0] == 200
        assert gate.wait_phase("ready")["warmups"] == 1
        log = gate.stop()
        assert "m is not ready: " in log
        assert "HTTP 400" in log
