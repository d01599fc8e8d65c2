"""What servers of the Open Inference Protocol, KServe's v1 and OpenAI's API call their endpoints."""

from __future__ import annotations

from collections.abc import Iterable

from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.protocols.protobuf_fields import text_field, without
from kserve_warmup.samples.sample import Sample

WARMUP_HEADER = "x-kserve-warmup"
"""Carried by every warm-up request, so that a model can skip side effects."""

GRPC_MODEL_READY = "/inference.GRPCInferenceService/ModelReady"
"""Where a model says whether it is ready. Never a server's own endpoint: KServe's is always true."""

GRPC_READY = b"\x08\x01"
"""A serialised ``ModelReadyResponse`` whose field 1, ``ready``, is true."""


def ready_path(samples: Iterable[Sample], model: str) -> str:
    """Return where a server that is sent ``samples`` over HTTP says whether ``model`` is ready.

    Raises:
        SampleError: the name cannot stand in the path of this or of a sample.
    """
    first = None
    for sample in samples:
        if sample.protocol != "grpc":
            sample.path_for(model)  # what could not be sent shows before anything is
            first = first or sample.endpoint
    return first.ready_path(model) if first else f"/v2/models/{url_name(model)}/ready"


def grpc_name(model: str) -> bytes:
    """Return a serialised message whose field 1 is ``model``: a ``ModelReadyRequest``, and a part of every other."""
    return text_field(1, model)


def infer_message(body: bytes, model: str) -> bytes:
    """Return a serialised ``ModelInferRequest`` for ``model``, whatever model it was recorded on.

    The generated classes of KServe and of tritonclient cannot live in one process; bytes can.

    Raises:
        SampleError: the message is cut off or malformed, and what is appended would become a part of its last field.
    """
    return without(body, 1) + grpc_name(model)
