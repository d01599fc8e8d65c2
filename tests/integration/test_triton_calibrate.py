"""Counts that a real, disposable tritonserver has asked for, on models that need a known number of calls."""

import json

import pytest
from triton_repository import OUTPUT, Repository, X, sample, tensor, tree, triton

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.prove import prove
from kserve_warmup.triton.remote import Remote
from kserve_warmup.triton.tritonserver import TritonServer

pytestmark = pytest.mark.alone  # how slow a call is decides what is found

# Each shape is slow for its first seven calls. One shape takes the whole server down, another is refused.
COMPILES = """
import os, signal, time
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        self.calls = dict()

    def execute(self, requests):
        shape = pb.get_input_tensor_by_name(requests[0], "X").as_numpy().shape
        if shape[1] == 5:
            os.kill(os.getppid(), signal.SIGSEGV)
            time.sleep(60)
        if shape[1] == 6:
            raise RuntimeError("no kernel for 6")
        key = (len(requests), *shape)
        self.calls[key] = self.calls.get(key, 0) + 1
        time.sleep(0.05 if self.calls[key] <= 7 else 0.003)
        return [pb.InferenceResponse([pb.Tensor("Y", np.zeros((1, 1), np.float32))]) for _ in requests]
"""
CONFIG = "# mine\n" + OUTPUT + X.replace("[ 4 ]", "[ -1 ]") + "max_batch_size: 8\n"


def told(repository, *arguments):
    result = triton(repository, *arguments)
    return result.exit_code, result.stdout


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    repository = Repository(tmp_path_factory.mktemp("calibrate"))
    widths = {4: 0.6, 5: 0.3, 6: 0.1}
    folder = repository.add("m", CONFIG, *[sample(tensor(1, w), weight=share) for w, share in widths.items()])
    (folder / "1" / "model.py").write_text(COMPILES)
    broken = repository.add("broken", CONFIG, sample(tensor(1)))
    (broken / "1" / "model.py").write_text("raise ImportError('no such library')")
    before = tree(repository.models)
    code, output = told(repository, "--calibrate", "--json")
    return repository, before, code, {m["model"]: m for m in json.loads(output)["models"]}


def test_the_calls_that_a_block_needs_are_found_and_written_with_some_to_spare(calibrated):
    repository, _, _, models = calibrated
    kept = models["m"]["blocks"][0]
    assert kept["steady"]
    assert 7 <= kept["count"] <= 9
    (block,) = parse((repository.models / "m" / "config.pbtxt").read_bytes()).model_warmup
    assert (block.name, block.count) == (kept["name"], kept["count"])


def test_blocks_that_crash_the_server_or_fail_are_named_and_left_out(calibrated):
    _, _, code, models = calibrated
    _, crashes, fails = models["m"]["blocks"]
    assert code == 1
    assert (crashes["name"], crashes["count"]) == ("02 batch 1 X[5]", None)
    assert "crashed" in crashes["problem"]
    assert (fails["name"], fails["count"]) == ("03 batch 1 X[6]", None)
    assert "crashed" in fails["problem"] or "no kernel for 6" in fails["problem"]


def test_statistics_prove_the_counts_and_the_result_is_measured_from_outside(calibrated):
    _, _, _, models = calibrated
    count = models["m"]["blocks"][0]["count"]
    assert models["m"]["proofs"] == [
        {"version": "1", "counts": f"{count} inferences in {count} executions ({count} of batch 1)"}
    ]
    assert models["m"]["instances"] == f"{count} calls on its instance"
    assert models["m"]["cold"]["ratio"] > 3
    assert models["m"]["warm"]["first_ms"] < models["m"]["cold"]["first_ms"] / 3


def test_a_model_that_does_not_load_is_named_and_left_as_it_was(calibrated):
    repository, before, _, models = calibrated
    assert not models["broken"]["written"]
    assert "no such library" in models["broken"]["problem"]
    after = tree(repository.models)
    assert {k: v for k, v in after.items() if k.startswith("broken")} == {
        k: v for k, v in before.items() if k.startswith("broken")
    }


def test_nothing_but_the_generated_warmup_changes_in_the_repository(calibrated):
    repository, before, _, _ = calibrated
    after = tree(repository.models)
    assert {k for k in after if after[k] != before.get(k)} - {"m/config.pbtxt"} == {
        k for k in after if k.startswith("m/warmup/")
    }
    assert after["m/config.pbtxt"].startswith(before["m/config.pbtxt"])
    assert before.keys() <= after.keys()


def test_a_calibrated_model_is_up_to_date_and_runs_as_written_on_another_server(calibrated):
    repository, _, _, models = calibrated
    assert told(repository, "--model", "m", "--check") == (0, "m: up to date\n")
    arguments = ["--model-control-mode=explicit", "--load-model=m"]
    with TritonServer(repository.models, arguments, env=repository.env) as server:
        server.wait_ready()
        (proof,) = prove(repository.models, server.http_url, ["m"])
    assert proof.counts.executions == models["m"]["blocks"][0]["count"]


def add_model(repository, widths):
    folder = repository.add("m", CONFIG, *[sample(tensor(1, w), weight=share) for w, share in widths.items()])
    (folder / "1" / "model.py").write_text(COMPILES)


EXPLICIT = ["--model-control-mode=explicit"]


def test_a_running_server_is_asked_and_left_with_the_calibrated_model(tmp_path):
    repository = Repository(tmp_path)
    add_model(repository, {4: 0.7, 6: 0.3})
    with TritonServer(repository.models, EXPLICIT, env=repository.env) as server:
        server.wait_ready()
        code, output = told(repository, "--calibrate", "--server", server.http_url, "--json")
        (proof,) = prove_after_reload(repository, server)
    (found,) = json.loads(output)["models"]
    kept, fails = found["blocks"]
    assert code == 1
    assert 7 <= kept["count"] <= 9
    assert "no kernel for 6" in fails["problem"]
    assert proof.counts.executions == kept["count"]
    assert found["proofs"][0]["counts"].startswith(f"{kept['count']} inferences")
    assert found["cold"]["ratio"] > 3
    assert found["warm"]["first_ms"] < found["cold"]["first_ms"] / 3
    assert told(repository, "--check")[0] == 0


def prove_after_reload(repository, server):
    Remote(server.http_url).load("m")
    return prove(repository.models, server.http_url, ["m"])


def test_a_budget_cuts_what_was_measured_and_what_is_left_is_proven(tmp_path):
    repository = Repository(tmp_path)
    add_model(repository, {4: 0.7, 7: 0.3})
    code, output = told(repository, "--calibrate", "--max-seconds", 0.5, "--json")
    (found,) = json.loads(output)["models"]
    first, second = found["blocks"]
    assert code == 0
    assert first["count"] >= second["count"] >= 1
    assert first["count"] + second["count"] < 16
    assert sum(b["cost"]["first"] + (b["count"] - 1) * b["cost"]["later"] for b in found["blocks"]) <= 0.5
    assert f"in {first['count'] + second['count']} executions" in found["proofs"][0]["counts"]
    assert "# counts: calibrated within 0.5 s: " in (repository.models / "m" / "config.pbtxt").read_text()
    assert told(repository, "--check") == (0, "m: up to date\n")


def test_a_running_server_that_crashes_is_one_line_that_names_the_block_and_nothing_is_written(tmp_path):
    repository = Repository(tmp_path)
    add_model(repository, {5: 1.0})
    before = tree(repository.models)
    with TritonServer(repository.models, EXPLICIT, env=repository.env) as server:
        server.wait_ready()
        with pytest.raises(WarmupFailedError) as caught:
            told(repository, "--calibrate", "--server", server.http_url)
    assert "is gone after a request like block '01 batch 1 X[5]'" in str(caught.value)
    assert tree(repository.models) == before


def test_a_server_in_another_mode_says_so_and_nothing_is_written(tmp_path):
    repository = Repository(tmp_path)
    add_model(repository, {4: 1.0})
    before = tree(repository.models)
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        with pytest.raises(WarmupFailedError, match="explicit mode"):
            told(repository, "--calibrate", "--server", server.http_url)
    assert tree(repository.models) == before
