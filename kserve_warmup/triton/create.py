"""A minimal ``config.pbtxt`` for a model that has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.codec import codec_of
from kserve_warmup.samples.sample import ANY_NAME
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton.render import Templates
from kserve_warmup.triton.rules import data_type

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
    signatures = [(sample.signature, sample.batch) for sample in samples]
    named = all(spec.name != ANY_NAME for signature, _ in signatures for spec in signature.inputs)
    if not all(codec_of(sample.protocol).is_typed for sample in samples) or not signatures or not named:
        msg = "--create needs recorded v2 or gRPC requests, which tell the inputs' names and types"
        raise TritonConfigError(f"model {name}: {msg}")
    batching = all(signature.batched for signature, _ in signatures)
    inputs: dict[str, dict[str, Any]] = {}
    for signature, batch in signatures:
        for spec in signature.inputs:
            dims = spec.shape if batching else signature.full_shape(spec, batch)
            known = inputs.setdefault(spec.name, {"data_type": data_type(spec.datatype), "dims": dims})
            if known["data_type"] != data_type(spec.datatype) or len(known["dims"]) != len(dims):
                raise TritonConfigError(f"model {name}: input {spec.name!r} differs in type or rank between requests")
            known["dims"] = tuple(a if a == b else -1 for a, b in zip(known["dims"], dims, strict=True))
    return templates.config(
        backend=_backend(name, folder),
        max_batch_size=max(batch for _, batch in signatures) if batching else 0,
        inputs=[{"name": input_name, **facts} for input_name, facts in sorted(inputs.items())],
    ).encode()


def _backend(name: str, folder: Path) -> str:
    found = {file.name for file in folder.glob("[1-9]*/model.*")}
    for file, backend in _BACKENDS.items():
        if file in found:
            return backend
    raise TritonConfigError(
        f"model {name}: no {', '.join(_BACKENDS)} in {folder}/<version>: write its config.pbtxt by hand"
    )
