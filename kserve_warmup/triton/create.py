"""A minimal ``config.pbtxt`` for a model that has none, and inputs for one that leaves them to the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.codec import codec_of
from kserve_warmup.protocols.generated.model_config_pb2 import DataType, ModelConfig
from kserve_warmup.samples.sample import ANY_NAME
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton.render import Templates
from kserve_warmup.triton.rules import data_type
from kserve_warmup.triton.warmup_files import read_regular

_SETS_BATCH = re.compile(rb"\bset_max_batch_size\(([^)]*)\)|\bset_max_batch_size\b")

_BACKENDS = {
    "model.py": "python",
    "model.onnx": "onnxruntime",
    "model.pt": "pytorch",
    "model.plan": "tensorrt",
    "model.savedmodel": "tensorflow",
    "model.graphdef": "tensorflow",
    "model.xml": "openvino",
    "model.dali": "dali",
}


def minimal_config(name: str, folder: Path, samples: SampleSet, templates: Templates) -> bytes:
    """Return a configuration with the backend that the model's file tells and the inputs that its requests have.

    Sizes in which the requests differ become -1. Outputs are left to the backend's auto-completion.

    Raises:
        TritonConfigError: The model's file is of no known kind, or its requests do not tell the inputs' types.
    """
    batching = all(sample.signature.batched for sample in samples)
    inputs = _inputs(name, samples, batching=batching)
    return templates.config(
        backend=_backend(name, folder),
        max_batch_size=max(sample.batch for sample in samples) if batching else 0,
        inputs=[{"name": input_name, **facts} for input_name, facts in sorted(inputs.items())],
    ).encode()


def completed(name: str, folder: Path, samples: SampleSet, config: ModelConfig) -> ModelConfig:
    """Return a configuration without inputs together with those that its requests have.

    Whether requests are batches is for the model to say, which a server asks and nobody here: its source may tell.

    Raises:
        TritonConfigError: Neither the configuration nor the source says so, or the requests do not tell the inputs.
    """
    largest = config.max_batch_size or _set_in_source(folder, config)
    if largest is None:
        msg = (
            "nothing here tells whether the model takes batches: add max_batch_size to config.pbtxt, or name a --server"
        )
        raise TritonConfigError(f"model {name}: config.pbtxt has no input, and {msg}")
    found = ModelConfig()
    found.CopyFrom(config)
    found.max_batch_size = largest
    for input_name, facts in sorted(_inputs(name, samples, batching=largest > 0).items()):
        found.input.add(name=input_name, data_type=DataType.Value(facts["data_type"]), dims=facts["dims"])
    return found


def _set_in_source(folder: Path, config: ModelConfig) -> int | None:
    """Return the max_batch_size that a Python model sets, 0 if it sets none, None if that cannot be told."""
    if config.backend != "python":
        return None
    try:
        text = b"\n".join(read_regular(file) for file in folder.glob("[1-9]*/*.py"))
    except OSError:
        return None
    values = {(found[1] or b"?").strip() for found in _SETS_BATCH.finditer(text)}
    if not values:
        return 0
    only = values.pop()
    return int(only) if not values and only.isdigit() else None


def _inputs(name: str, samples: SampleSet, *, batching: bool) -> dict[str, dict[str, Any]]:
    """Return type and dims of each input that requests have; sizes in which they differ are -1."""
    signatures = [(sample.signature, sample.batch) for sample in samples]
    named = all(spec.name != ANY_NAME for signature, _ in signatures for spec in signature.inputs)
    if not all(codec_of(sample.protocol).is_typed for sample in samples) or not signatures or not named:
        msg = "--create needs recorded v2 or gRPC requests, which tell the inputs' names and types"
        raise TritonConfigError(f"model {name}: {msg}")
    inputs: dict[str, dict[str, Any]] = {}
    for signature, batch in signatures:
        for spec in signature.inputs:
            dims = spec.shape if batching else signature.full_shape(spec, batch)
            known = inputs.setdefault(spec.name, {"data_type": data_type(spec.datatype), "dims": dims})
            if known["data_type"] != data_type(spec.datatype) or len(known["dims"]) != len(dims):
                raise TritonConfigError(f"model {name}: input {spec.name!r} differs in type or rank between requests")
            known["dims"] = tuple(a if a == b else -1 for a, b in zip(known["dims"], dims, strict=True))
    return inputs


def _backend(name: str, folder: Path) -> str:
    found = {file.name for file in folder.glob("[1-9]*/model.*")}
    for file, backend in _BACKENDS.items():
        if file in found:
            return backend
    raise TritonConfigError(
        f"model {name}: no {', '.join(_BACKENDS)} in {folder}/<version>: write its config.pbtxt by hand"
    )
