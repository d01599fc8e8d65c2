"""Model repositories and sample sets for the generator's tests."""

from pathlib import Path

import numpy as np

from kserve_warmup.protocols.bodies import Tensor, encode, request
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.repository import apply_all, plan_repository

PLAIN = """\
# by hand
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 4 ] } ]
"""


def x(batch=1, width=4, dtype=np.float32, datatype="FP32", name="X"):
    return Tensor(name, datatype, np.arange(batch * width).astype(dtype).reshape(batch, width))


def sample(*tensors, protocol="v2", weight=1.0):
    body, headers = encode(protocol, tensors)
    return request(protocol, body, headers=headers, weight=weight)


def model(repository: Path, name: str, config: str | None = PLAIN) -> Path:
    folder = repository / name
    (folder / "1").mkdir(parents=True)
    if config is not None:
        (folder / "config.pbtxt").write_text(config)
    return folder


def save(samples: Path, name: str, *made) -> Path:
    SampleSet(name, tuple(made)).save(samples / name)
    return samples


def generate(repository: Path, samples: Path, models=(), **options):
    plan = plan_repository(repository, samples, list(models), Options(**options))
    apply_all(plan.changed)
    return plan


def warmups(folder: Path):
    """The blocks in a model's config: batch size, count, and each input's type, dims and bytes."""
    found = []
    for block in parse((folder / "config.pbtxt").read_bytes()).model_warmup:
        inputs = {
            name: (list(i.dims), (folder / "warmup" / i.input_data_file).read_bytes())
            for name, i in block.inputs.items()
        }
        found.append((block.batch_size, block.count, inputs))
    return found
