"""Batch sizes that no request has and the dynamic batcher makes of several, and backends that pay for each new one.

Told from what is public of the backends, in the state of 2026:

- onnxruntime on a GPU looks for convolution algorithms anew for each input shape (microsoft/onnxruntime#709, #6978), on
  a CPU not (#17443); its OpenVINO and TensorRT accelerators compile for shapes too.
- PyTorch's libtorch fuses and re-specialises TorchScript for shapes on a GPU; TensorFlow does with XLA or TF-TRT, which
  take GPUs; OpenVINO makes its kernels for shapes.
- TensorRT's engines are built before, for a range of shapes.
- A Python model does what it likes. Where it imports JAX, each shape is compiled; torch.compile takes the second size
  for a sign to compile for all others, so the usual sizes will do. Others are not known: ``--batch-sizes`` says more.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig, ModelInstanceGroup
from kserve_warmup.triton.warmup_files import read_regular

EACH_UP_TO = 16
"""The largest max_batch_size for which every size is made; above it each is twice the one before."""

_ON_GPU = ("onnxruntime", "pytorch", "tensorflow")
_ALWAYS = ("openvino",)
_JAX = re.compile(rb"^\s*(?:import|from)\s+jax\b", re.MULTILINE)


def pays_per_shape(config: ModelConfig, folder: Path | None = None) -> str:
    """Return who does part of its work anew for each shape that the dynamic batcher makes; nothing if none does.

    Args:
        config: The model's configuration.
        folder: The model's folder, for a Python model's source.
    """
    if not config.HasField("dynamic_batching"):
        return ""
    backend: str = config.backend or config.platform.partition("_")[0]
    accelerated = bool(config.optimization.execution_accelerators.ListFields())
    groups = config.instance_group
    cpu_only = bool(groups) and all(group.kind == ModelInstanceGroup.KIND_CPU for group in groups)
    if backend in _ALWAYS or (backend in _ON_GPU and (accelerated or not cpu_only)):
        return backend
    return "JAX" if backend == "python" and folder is not None and _imports_jax(folder) else ""


def sums(recorded: Collection[int], largest: int) -> list[int]:
    """Return the sizes of batches that requests of the recorded sizes add up to.

    Up to a ``largest`` of 16 these are all; above it, each recorded size doubled for as long as that is allowed.
    """
    if largest > EACH_UP_TO:
        doubled = {size << n for size in recorded for n in range(largest.bit_length())}
        return sorted(size for size in doubled if size <= largest)
    reached = {0}
    for _ in range(largest):
        reached |= {a + b for a in reached for b in recorded if a + b <= largest}
    return sorted(reached - {0})


def _imports_jax(folder: Path) -> bool:
    try:
        return any(_JAX.search(read_regular(file)) for file in folder.glob("*/*.py"))
    except OSError:
        return False  # the server will not read it either
