"""Python-backend models that write down what they were given, for tests on the real tritonserver."""

import json
import urllib.error
import urllib.request

import numpy as np
import typer
from typer.testing import CliRunner

from kserve_warmup.protocols.bodies import Tensor, encode, request
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.repository import apply_all, plan_repository

# Each call of the backend is one line: for each request, each input's shape and raw bytes.
RECORDER = """
import json
import os
import numpy as np
import triton_python_backend_utils as pb

NAMES = {names}

class TritonPythonModel:
    def execute(self, requests):
        call = []
        for request in requests:
            given = dict()
            for name in NAMES:
                tensor = pb.get_input_tensor_by_name(request, name)
                if tensor is not None:
                    array = tensor.as_numpy()
                    data = [list(v) for v in array.ravel()] if array.dtype == object else list(array.tobytes())
                    given[name] = dict(shape=list(array.shape), data=data)
            call.append(given)
        with open(os.path.join(os.environ["CALLS"], "{model}"), "a") as file:
            file.write(json.dumps(call) + "\\n")
        def answer():  # one object for several requests brings the server down
            return pb.InferenceResponse([pb.Tensor("Y", np.zeros((1, 1), np.float32))])
        if not {decoupled}:
            return [answer() for _ in requests]
        for request in requests:
            sender = request.get_response_sender()
            sender.send(answer())
            sender.send(answer(), flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
OUTPUT = 'backend: "python"\noutput [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] } ]\n'
X = 'input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'


def tensor(batch=1, width=4, datatype="FP32", name="X", dtype=np.float32):
    values = np.arange(batch * width).reshape(batch, width) + 0.5 if np.dtype(dtype).kind == "f" else 7
    return Tensor(name, datatype, np.full((batch, width), values).astype(dtype))


def sample(*tensors, protocol="v2-binary", weight=1.0):
    body, headers = encode(protocol, tensors)
    return request(protocol, body, headers=headers, weight=weight)


class Repository:
    """A model repository with a sample set for each model, in a test's folder."""

    def __init__(self, folder):
        self.models, self.samples, self.calls_folder = folder / "models", folder / "samples", folder / "calls"
        self.models.mkdir()
        self.calls_folder.mkdir()

    @property
    def env(self):
        return {"CALLS": str(self.calls_folder)}

    def add(self, name, config, *samples, names=("X",), decoupled=False):
        folder = self.models / name
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text(config)
        code = RECORDER.replace("{names}", repr(names)).replace("{model}", name).replace("{decoupled}", str(decoupled))
        (folder / "1" / "model.py").write_text(code)
        if samples:
            SampleSet(name, samples).save(self.samples / name)
        return folder

    def generate(self, *models, **options):
        plan = plan_repository(self.models, self.samples, models, Options(**options))
        apply_all(plan.changed)
        return plan

    def calls(self, name):
        """Return what the model was given, call by call."""
        file = self.calls_folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def post(url, body):
    """Return a server's status and answer."""
    sent = urllib.request.Request(url, data=json.dumps(body).encode())
    try:
        with urllib.request.urlopen(sent, timeout=60) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def load(server, model):
    return post(f"{server.http_url}/v2/repository/models/{model}/load", {})


def infer(server, model):
    given = {"name": "X", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}
    return post(f"{server.http_url}/v2/models/{model}/infer", {"inputs": [given]})


def triton(repository, *arguments):
    """Run ``kserve-warmup triton`` on a repository, in this process."""
    from kserve_warmup.cli.triton import run

    app = typer.Typer()
    app.command()(run)
    result = CliRunner().invoke(app, [str(a) for a in (repository.models, "--samples", repository.samples, *arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def tree(folder):
    """Return what a folder holds, but for what Python compiles beside it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc"}
