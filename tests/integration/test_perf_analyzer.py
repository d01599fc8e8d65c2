"""NVIDIA's own load generator reads exported samples, and a real tritonserver gets what users sent."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from triton_repository import OUTPUT, Repository, X, sample, tensor

from kserve_warmup.protocols.tensors import Tensor, bytes_array
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton.tritonserver import TritonServer

PERF_ANALYZER = Path(__file__).parents[2] / ".venv-perf-analyzer" / "perf_analyzer"
TEXT = 'input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 2 ] } ]\n'


def export(folder, *options):
    command = [sys.executable, "-m", "kserve_warmup", "inspect", folder, "--export-perf-analyzer", *options]
    return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, timeout=60)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path)


@pytest.fixture
def run(repository, tmp_path):
    """Serve the repository, let perf_analyzer send the samples of ``m``, and return what the model was given."""

    def _run(protocol, name):
        data = tmp_path / "data.json"
        done = export(repository.samples / "m", data)
        assert done.returncode == 0, done.stderr
        with TritonServer(repository.models, env=repository.env) as server:
            server.wait_ready()
            url = server.grpc_url if protocol == "grpc" else server.http_url.removeprefix("http://")
            options = ["-m", "m", "-u", url, "-i", protocol, "--input-data", data, "--request-count", "6"]
            sent = subprocess.run(
                [str(PERF_ANALYZER), *map(str, options)], check=False, capture_output=True, text=True, timeout=120
            )
            assert sent.returncode == 0, sent.stderr[:500]
        return [call[name]["data"] for requests in repository.calls("m") for call in requests]

    return _run


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_each_row_of_each_sample_arrives_to_the_last_bit(repository, run, protocol):
    made = (sample(tensor(2), protocol="v2-binary", weight=0.6), sample(tensor(1), protocol="grpc", weight=0.4))
    repository.add("m", OUTPUT + X + "max_batch_size: 8\n", *made)

    rows = run(protocol, "X")

    wanted = [list(np.float32(row).tobytes()) for row in (*tensor(2).data, *tensor(1).data)]
    assert len(rows) >= 6
    assert sorted({tuple(row) for row in rows}) == sorted({tuple(row) for row in wanted})


def test_text_arrives_as_it_was_sent(repository, run):
    text = Tensor("TEXT", "BYTES", bytes_array(["grüß".encode(), b"\x00\xff"], (1, 2)))
    config = OUTPUT + TEXT + "max_batch_size: 8\n"
    repository.add("m", config, sample(text), names=("TEXT",))

    rows = run("http", "TEXT")

    assert rows[0] == [list("grüß".encode()), [0, 255]]


def test_untyped_v1_values_get_the_type_that_the_model_asks_for(repository, run):
    made = sample(Tensor("X", "FP64", np.array([[1.0, 2.5, 3.0, 4.0]])), protocol="v1")
    repository.add("m", OUTPUT + X + "max_batch_size: 8\n", made)

    assert bytes(run("http", "X")[0]) == np.float32([1, 2.5, 3, 4]).tobytes()


def test_requests_without_a_batch_dimension_keep_their_shape(tmp_path):
    scalar = Tensor("X", "FP32", np.float32(7).reshape(()))
    SampleSet("m", (sample(scalar),)).save(tmp_path / "set")

    export(tmp_path / "set", tmp_path / "data.json")

    (entry,) = json.loads((tmp_path / "data.json").read_text())["data"]
    assert entry["X"]["shape"] == []


def test_requests_with_other_inputs_are_left_out_and_counted(tmp_path):
    other = Tensor("Y", "FP32", np.ones((1, 2), np.float32))
    SampleSet("m", (sample(tensor(), weight=0.7), sample(other, weight=0.3))).save(tmp_path / "set")

    done = export(tmp_path / "set", tmp_path / "data.json")

    data = json.loads((tmp_path / "data.json").read_text())["data"]
    assert [list(entry) for entry in data] == [["X"]]
    assert "1 sample left out" in done.stderr
