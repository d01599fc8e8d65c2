"""Write triton_trace.json with a real tritonserver: python tests/data/traffic/make_triton_trace.py."""

import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "integration"), str(HERE.parents[2])]

from triton_repository import OUTPUT, Repository  # noqa: E402

from kserve_warmup.protocols.bodies import encode  # noqa: E402
from kserve_warmup.protocols.tensors import Tensor, bytes_array  # noqa: E402
from kserve_warmup.triton.tritonserver import TritonServer  # noqa: E402

CONFIG = """
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ 2, -1 ] } ]
input [ { name: "IDS" data_type: TYPE_INT64 dims: [ 1 ] } ]
input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 2 ] } ]
input [ { name: "HALF" data_type: TYPE_FP16 dims: [ 1 ] optional: true } ]
"""


def tensors(batch: int, *, half: bool) -> list[Tensor]:
    made = [
        Tensor("X", "FP32", np.linspace(-1, 1e7, batch * 2 * 3, dtype=np.float32).reshape(batch, 2, 3)),
        Tensor("IDS", "INT64", np.arange(batch).reshape(batch, 1) + 2**40),
        Tensor("TEXT", "BYTES", bytes_array([b"a,b", b'"c"'] * batch, (batch, 2))),
    ]
    return [*made, Tensor("HALF", "FP16", np.full((batch, 1), 0.5, np.float16))] if half else made


with tempfile.TemporaryDirectory() as folder:
    repository = Repository(Path(folder))
    repository.add("traced", OUTPUT + CONFIG, names=("X",))
    file = Path(folder) / "trace.json"
    options = [f"--trace-config=triton,file={file}", "--trace-config=rate=1", "--trace-config=triton,log-frequency=3"]
    options += ["--trace-config=level=TENSORS", "--trace-config=level=TIMESTAMPS"]
    with TritonServer(repository.models, options, env=repository.env) as server:
        server.wait_ready()
        for batch, half in ((1, False), (2, True), (2, False)):
            body, headers = encode("v2-binary", tensors(batch, half=half))
            url = f"{server.http_url}/v2/models/traced/infer"
            urllib.request.urlopen(urllib.request.Request(url, body, headers)).read()
    (HERE / "triton_trace.json").write_bytes(file.with_suffix(".json.0").read_bytes())
