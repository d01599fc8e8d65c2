"""``--engine ray`` on real local clusters: run with ``make test-ray``, as Ray is a large download.

The environment is the one in which KServe's own tests run, which need Ray as well.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ray.cluster_utils import Cluster

from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.sampling.formats.jsonl import write_jsonl


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """Files of requests of several protocols, shapes and batches, with a broken line in each."""
    folder = tmp_path_factory.mktemp("traffic")
    for file in range(12):
        samples = []
        for number in range(300):
            rows = np.full((number % 3 + 1, number % 5 + 1), number * file, np.float32)
            protocol = ("v1", "v2", "v2-binary", "grpc")[number % 4]
            body, headers = encode(protocol, [Tensor("instances" if protocol == "v1" else "x", "FP32", rows)])
            samples.append(request(protocol, body, headers=headers))
        with (folder / f"{file}.jsonl").open("wb") as stream:
            write_jsonl(stream, samples)
            stream.write(b'{"instances": [[1\n')
    return folder


def sample(day, out, *options):
    command = [sys.executable, "-m", "kserve_warmup", "sample", str(day), "--model", "m", "--out", str(out), "--json"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    return subprocess.run([*command, *options], capture_output=True, text=True, env=environment, check=False)


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def alone(day, tmp_path_factory):
    """The set that one process makes."""
    folder = tmp_path_factory.mktemp("alone") / "set"
    done = sample(day, folder, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    return files_of(folder), json.loads(done.stdout)


@pytest.mark.parametrize("workers", ["1", "3"])
def test_a_local_cluster_of_any_size_gives_the_files_that_one_process_gives(day, alone, tmp_path, workers):
    done = sample(day, tmp_path / "set", "--engine", "ray", "--jobs", workers)
    assert done.returncode == 0, done.stderr
    files, said = alone
    assert files_of(tmp_path / "set") == files
    assert len(files) > 30
    assert json.loads(done.stdout) == said | {"out": str(tmp_path / "set")}


def test_a_cluster_of_two_nodes_reached_by_its_address_gives_the_same_files_and_stays_up(day, alone, tmp_path):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        for name in ("first", "second"):
            done = sample(day, tmp_path / name, "--engine", "ray", "--ray-address", cluster.address)
            assert done.returncode == 0, done.stderr
            assert files_of(tmp_path / name) == alone[0]
    finally:
        cluster.shutdown()


def test_a_problem_in_a_task_is_the_one_line_that_one_process_gives(day, tmp_path):
    said = []
    for engine in ("local", "ray"):
        done = sample(day, tmp_path / "set", "--engine", engine, "--jobs", "2", "--max-bad", "0")
        assert (done.returncode, done.stdout) == (2, "")
        said.append(done.stderr)
    assert said[0] == said[1]
    assert "12 of 3612 records (0.3%) are unusable" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_is_not_there_is_one_line(day, tmp_path):
    done = sample(day, tmp_path / "set", "--engine", "ray", "--ray-address", "127.0.0.1:1")
    assert done.returncode == 2
    assert done.stderr.startswith("kserve-warmup: Ray at 127.0.0.1:1 cannot be reached: ")
    assert len(done.stderr.splitlines()) == 1
    assert not Path(tmp_path / "set").exists()
