"""What servers of the Open Inference Protocol, KServe's v1 and OpenAI's API call their endpoints."""

from __future__ import annotations

from collections.abc import Iterable

from kserve_warmup.errors import WarmupError
from kserve_warmup.samples.sample import Protocol, Sample

WARMUP_HEADER = "x-kserve-warmup"
"""Carried by every warm-up request, so that a model can skip side effects."""

GRPC_SERVICE = "/inference.GRPCInferenceService"

READY_PATHS: dict[Protocol, str] = {
    "v1": "/v1/models/{model}",
    "v2": "/v2/models/{model}/ready",
    "v2-binary": "/v2/models/{model}/ready",
    "grpc": f"{GRPC_SERVICE}/ModelReady",
}
"""Where a model says whether it is ready. Never a server's own endpoint: KServe's is always true."""

GRPC_READY = b"\x08\x01"
"""A serialised ``ModelReadyResponse`` whose field 1, ``ready``, is true."""


def ready_path(samples: Iterable[Sample], model: str) -> str:
    """Return where a server that is sent ``samples`` over HTTP says whether ``model`` is ready.

    Raises:
        WarmupError: an OpenAI sample was recorded on a path that does not tell where the models are listed.
    """
    sample = next((s for s in samples if s.protocol != "grpc"), None)
    if sample is None:
        return READY_PATHS["v2"].format(model=model)
    if sample.protocol != "openai":
        return READY_PATHS[sample.protocol].format(model=model)
    # OpenAI's API has no readiness: its list of models is answered once they are loaded.
    head, version, _ = sample.path.partition("/v1/")
    if not version:
        raise WarmupError(f"{sample.path} is not an OpenAI path: it has no /v1/ in it")
    return f"{head}/v1/models"


def grpc_name(model: str) -> bytes:
    """Return a serialised message whose field 1 is ``model``: a ``ModelReadyRequest``, and the head of every other.

    Appended to a serialised ``ModelInferRequest`` it renames the model without parsing the rest: the last value of a
    field counts. The generated classes of KServe and of tritonclient cannot live in one process; bytes can.
    """
    value, length = model.encode(), bytearray()
    rest = len(value)
    while rest > 0x7F:  # noqa: PLR2004  (a varint carries seven bits a byte)
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    return b"\x0a" + bytes([*length, rest]) + value
