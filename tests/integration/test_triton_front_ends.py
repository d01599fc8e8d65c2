"""The mixin that holds a model unready until front ends are warm: what a server that never asks can show of it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from triton_repository import OUTPUT, Repository, X, infer, sample, tensor

from kserve_warmup.files import shipped
from kserve_warmup.protocols.bodies import Tensor
from kserve_warmup.triton.tritonserver import TritonServer

SOURCE = shipped("triton_templates") / "warm_front_ends.py"
HELD = """
from warm_front_ends import WarmFrontEnds

class TritonPythonModel(WarmFrontEnds):
    def initialize(self, args):
        self.warm_front_ends(args)
        with open(os.path.join(os.environ["CALLS"], "ready"), "a") as file:
            file.write(f"{self.is_ready()}\\n")

    def finalize(self):
        with open(os.path.join(os.environ["CALLS"], "ready"), "a") as file:
            file.write(f"{self.is_ready()}\\n")
"""


@pytest.fixture
def mixin():
    spec = importlib.util.spec_from_file_location("warm_front_ends", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WarmFrontEnds


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path)
    text = Tensor("S", "BYTES", np.array([[b"caf\xc3\xa9", b""]] * 2, dtype=object))
    config = OUTPUT + X + "input [ { name: 'S' data_type: TYPE_STRING dims: [ 2 ] } ]\nmax_batch_size: 4\n"
    made.add("m", config, sample(tensor(2), text), names=("X", "S"))
    made.generate(count=1)
    return made


def executions(server):
    with urllib.request.urlopen(f"{server.http_url}/v2/models/m/stats") as answer:
        return json.load(answer)["model_stats"][0]["execution_count"]


def wait_for(wanted, found):
    end = time.monotonic() + 60
    while found() != wanted and time.monotonic() < end:
        time.sleep(0.2)
    assert found() == wanted


def test_a_model_sends_its_blocks_to_its_own_server_and_is_ready_only_then(repository):
    folder = repository.models / "m" / "1"
    shutil.copy(SOURCE, folder)
    text = (folder / "model.py").read_text()
    (folder / "model.py").write_text(text.replace("\nclass TritonPythonModel:\n", HELD))
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        wait_for(1 + 8, lambda: executions(server))
    assert (repository.calls_folder / "ready").read_text().split() == ["False", "True"]
    warm, *asked = repository.calls("m")
    assert [len(call) for call in (warm, *asked)] == [2] + [1] * 8  # Triton's own are requests of one row
    for name in ("X", "S"):
        one = warm[0][name]
        assert asked[0][0][name] == {"shape": [2, *one["shape"][1:]], "data": one["data"] * 2}


OUTSIDE = """
import json, sys, time
from warm_front_ends import WarmFrontEnds

ports, args = json.loads(sys.argv[1]), json.loads(sys.argv[2])

class Model(WarmFrontEnds):
    front_end_calls = 3

    def _port(self, kind, usual):
        return ports[kind]

model = Model()
model.warm_front_ends(args)
while not model.is_ready():
    time.sleep(0.1)
"""


def test_it_speaks_grpc_where_tritonclient_is_installed(repository):
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        with urllib.request.urlopen(f"{server.http_url}/v2/models/m/config") as answer:
            config = answer.read().decode()
        ports = {
            kind: int(url.rpartition(":")[2]) for kind, url in (("grpc", server.grpc_url), ("http", server.http_url))
        }
        args = {"model_name": "m", "model_config": config, "model_repository": str(repository.models / "m")}
        # in a process of its own: beside KServe's messages of the same names tritonclient's cannot be loaded
        command = [sys.executable, "-c", OUTSIDE, json.dumps(ports), json.dumps(args)]
        subprocess.run(command, check=True, timeout=60, env={**os.environ, "PYTHONPATH": str(SOURCE.parent)})
        assert executions(server) == 1 + 3 + 3
        assert infer(server, "m")[0] == 400  # it lacks an input, and the server goes on


def test_it_is_ready_in_the_end_whatever_happens(mixin):
    class Model(mixin):
        front_end_seconds = 0.2

        def _port(self, kind, usual):
            return 1  # nobody listens

    model = Model()
    assert model.is_ready() is True  # nothing was begun
    model = Model()
    model.warm_front_ends({"model_name": "m", "model_config": "{}", "model_repository": "/"})
    assert model.is_ready() is False
    wait_for(True, model.is_ready)
