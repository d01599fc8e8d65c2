"""First against steady, from outside, of a real tritonserver's models that answer no plain request: cold, and gated."""

import json
import socket
import subprocess
import sys

import pytest
import stream_models as models
from gate_process import GateProcess
from held_ports import free_ports
from stream_models import ask, save, sequences
from triton_repository import Repository, triton

from kserve_warmup.latency import Target, wait_ready
from kserve_warmup.triton.tritonserver import TritonServer
from kserve_warmup.views.figures import TIMES

pytestmark = pytest.mark.alone  # first calls are slow by 0.4 s, and so might others be on a busy machine

FIRST = "first request of the process"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    made = Repository(tmp_path_factory.mktemp("streams"))
    models.add(made, "decoupled", models.OUTPUT + models.X + models.DECOUPLED, models.ANY_NUMBER)
    models.add(made, "direct", models.OUTPUT + models.X + sequences(models.DIRECT), models.SUMS)
    return made


def verified(server, folder):
    """Return the ratios of ``kserve-warmup verify`` by row, and what it said where there are none."""
    options = ["--grpc", server.grpc_url, "--requests", "6", "--pace", "0.05", "--max-ratio", "5", "--json"]
    command = [sys.executable, "-m", "kserve_warmup", "verify", server.http_url, "--samples", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return {row["name"]: row["ratio"] for row in json.loads(done.stdout)["rows"]} if done.stdout else done.stderr


@pytest.mark.parametrize("model", ["decoupled", "direct"])
def test_what_is_cold_shows_and_what_was_gated_is_warm(repository, tmp_path, model):
    folder = save(tmp_path, model, ask(2, sequence_id=7) if model == "direct" else ask(2))
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        cold = verified(server, folder)
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        with GateProcess(server.http_url, folder, "--grpc", server.grpc_url, "--max-seconds", 5) as gate:
            gate.wait_phase("ready")
        warm = verified(server, folder)

    row = f"{model}: v2 X:FP32[N,4]"
    parts = [" sequence_start", "", " sequence_end"] if model == "direct" else [""]
    assert cold.keys() == {FIRST, *(f"{row}{part} {TIMES} 1" for part in parts)}
    assert min(cold.values()) > 10  # each part of a sequence has a slow first call of its own
    assert max(warm.values()) < 5


def test_a_step_that_fails_is_named_and_its_sequence_closed(repository, tmp_path):
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        said = verified(server, save(tmp_path, "direct", ask(13, sequence_id=7)))
    assert "step 1 of 4 of its sequence (START)" in said
    assert "unlucky" in said
    assert repository.calls("direct")[-1]["open"] == 0


def test_calibration_measures_them_from_outside(tmp_path, monkeypatch):
    made = Repository(tmp_path)
    monkeypatch.setenv("CALLS", str(made.calls_folder))
    models.add(made, "decoupled", models.OUTPUT + models.X + models.DECOUPLED, models.ANY_NUMBER)
    models.add(made, "direct", models.OUTPUT + models.X + sequences(models.DIRECT), models.SUMS)
    save(made.samples, "decoupled", ask(2))
    save(made.samples, "direct", ask(2, sequence_id=7))
    result = triton(made, "--calibrate", "--json")
    found = {m["model"]: m for m in json.loads(result.stdout)["models"]}

    for model in ("decoupled", "direct"):
        assert found[model]["note"] is None
        assert found[model]["cold"]["ratio"] > 10
        assert found[model]["warm"]["ratio"] < found[model]["cold"]["ratio"] / 5


def is_free(port):
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


def test_a_server_at_hand_is_asked_for_a_decoupled_model_over_its_stream(tmp_path, monkeypatch):
    made = Repository(tmp_path)
    monkeypatch.setenv("CALLS", str(made.calls_folder))  # for the trial load, which is another server
    models.add(made, "decoupled", models.OUTPUT + models.X + models.DECOUPLED, models.ANY_NUMBER)
    save(made.samples, "decoupled", ask(2))
    http = next(port for port in iter(lambda: free_ports(1)[0], None) if is_free(port + 1))
    arguments = ["--model-control-mode=explicit", f"--http-port={http}", f"--grpc-port={http + 1}"]
    with TritonServer(made.models, arguments, env=made.env) as server:
        url = f"http://127.0.0.1:{http}"
        wait_ready(Target(url, "decoupled"), path="/v2/health/ready", alive=server.alive)
        result = triton(made, "--calibrate", "--server", url, "--json")
    (found,) = json.loads(result.stdout)["models"]
    assert found["problem"] is None
    assert found["note"] is None
    assert found["cold"]["ratio"] > 10
