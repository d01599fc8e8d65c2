"""What servers of the Open Inference Protocol, KServe's v1 and OpenAI's API call their endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from kserve_warmup.errors import WarmupError
from kserve_warmup.protocols.inference_path import MODEL_PLACEHOLDER, url_name
from kserve_warmup.protocols.protobuf_fields import text_field, without
from kserve_warmup.samples.sample import Sample

WARMUP_HEADER = "x-kserve-warmup"
"""Carried by every warm-up request, so that a model can skip side effects."""

GRPC_MODEL_READY = "/inference.GRPCInferenceService/ModelReady"
"""Where a model says whether it is ready. Never a server's own endpoint: KServe's is always true."""

GRPC_READY = b"\x08\x01"
"""A serialised ``ModelReadyResponse`` whose field 1, ``ready``, is true."""


_OWN_PATH = re.compile(r"/[!-~]*")


@dataclass(frozen=True, slots=True)
class OwnPaths:
    """Where a server of an API of its own takes requests over HTTP and says that it is ready.

    Whoever runs the command says it, and nothing recorded can. ``{model}`` in it stands for the model's name. None: the
    endpoints of the samples' protocols.
    """

    path: str | None = None
    ready: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no path."""
        for option, path in (("--path", self.path), ("--ready", self.ready)):
            if path is not None and (not _OWN_PATH.fullmatch(path) or "#" in path):
                raise WarmupError(f"{option} {path!r}: write a path on the server, such as /predict or /health")

    def check_ready(self) -> None:
        """Refuse a server of an API of its own whose readiness nobody has told.

        Raises:
            WarmupError: there is a path to send to, and none to ask.
        """
        if self.path is not None and self.ready is None:
            where = "such as --ready /health (LitServe), /readyz (BentoML) or /-/healthz (Ray Serve)"
            raise WarmupError(f"--path {self.path}: say too where the server tells that it is ready, {where}")

    def path_for(self, model: str) -> str | None:
        """Return the path to send to; None: each sample's own.

        Raises:
            SampleError: the name cannot stand in it.
        """
        return _filled(self.path, model)

    def ready_for(self, model: str) -> str | None:
        """Return the path that says whether ``model`` is ready; None: that of the samples' protocol.

        Raises:
            SampleError: the name cannot stand in it.
        """
        return _filled(self.ready, model)


NO_PATHS = OwnPaths()


def _filled(path: str | None, model: str) -> str | None:
    return path.replace(MODEL_PLACEHOLDER, url_name(model)) if path and MODEL_PLACEHOLDER in path else path


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
