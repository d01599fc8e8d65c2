"""Which server a container runs, as far as its image, command and arguments tell, and what its endpoints mean.

- KServe's Python servers: ``/v2/health/ready``, ``/v2/health/live``, ``/`` and ``/v1/models`` say yes whatever the
  models do (kserve 0.21, ``protocol/dataplane.py``: ``ready`` and ``live``).
- Triton opens no port before every model is loaded and warm, unless ``--model-control-mode`` is explicit; its
  ``/v2/health/ready`` asks all models, unless ``--strict-readiness`` is false.
- MLServer and OpenVINO Model Server ask their models for ``/v2/health/ready``; vLLM's ``/health`` and ``/v1/models``
  answer once its engine runs.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence

_KSERVE_IMAGES = r"(?:sklearn|xgb|lgb|pmml|paddle|huggingface|predictive|autogluon|alibi|art)server"


class ServerType(enum.Enum):
    """A model server that is known here."""

    KSERVE = "a KServe Python server"
    TRITON = "Triton"
    MLSERVER = "MLServer"
    VLLM = "vLLM"
    TENSORFLOW = "TensorFlow Serving"
    TORCHSERVE = "TorchServe"
    OPENVINO = "OpenVINO Model Server"
    UNKNOWN = "this server"


_KNOWN = (
    (ServerType.TRITON, re.compile(r"(?<![a-z])tritonserver")),
    (ServerType.MLSERVER, re.compile(r"(?<![a-z])mlserver")),
    (ServerType.TENSORFLOW, re.compile(r"tensorflow_model_server|tensorflow[-/_]serving|tfserving")),
    (ServerType.TORCHSERVE, re.compile(r"torchserve")),
    (ServerType.OPENVINO, re.compile(r"openvino|\bovms\b")),
    (ServerType.KSERVE, re.compile(rf"\b{_KSERVE_IMAGES}\b")),
    (ServerType.VLLM, re.compile(r"\bvllm")),
    (ServerType.KSERVE, re.compile(r"\bkserve[-_]warmup\s+serve\b")),
)


def server_type(image: str, words: Sequence[str]) -> ServerType:
    """Return the server that a container runs.

    Args:
        image: Its image.
        words: Its command and arguments; what they say counts before what the image's name says.
    """
    for text in (" ".join(words), image):
        for kind, pattern in _KNOWN:
            if pattern.search(text):
                return kind
    return ServerType.UNKNOWN


FRAMEWORKS = {
    "sklearn": ServerType.KSERVE,
    "xgboost": ServerType.KSERVE,
    "lightgbm": ServerType.KSERVE,
    "pmml": ServerType.KSERVE,
    "paddle": ServerType.KSERVE,
    "huggingface": ServerType.KSERVE,
    "triton": ServerType.TRITON,
    "tensorflow": ServerType.TENSORFLOW,
    "pytorch": ServerType.TORCHSERVE,
    "onnx": ServerType.UNKNOWN,
}
"""The older fields of a predictor that stand for a model of a format, and the server that KServe gives it."""

_ALWAYS_YES = {"/", "/v1/models", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/health"}
_SERVER_WIDE = {"/v2/health/live", "/v2/health/ready"}
_ASKS_MODELS = {ServerType.TRITON, ServerType.MLSERVER, ServerType.OPENVINO, ServerType.VLLM}


def says_yes_while_cold(kind: ServerType, path: str, words: Sequence[str]) -> bool:
    """Return whether a server says yes at ``path`` whatever its models do."""
    path = path.partition("?")[0].rstrip("/") or "/"
    if kind is ServerType.KSERVE:
        return path in _ALWAYS_YES
    if path == "/v2/health/live":
        return True
    if kind is ServerType.TRITON:
        return path == "/v2/health/ready" and any(w.replace(" ", "") == "--strict-readiness=false" for w in words)
    return kind not in _ASKS_MODELS and path in _SERVER_WIDE


def model_path(kind: ServerType, words: Sequence[str]) -> str:
    """Return where such a server says whether its model is ready, nothing where that is not known.

    KServe's servers are told the model's name by an argument; it may be ``{{.Name}}``, which KServe fills in.
    """
    if kind is not ServerType.KSERVE:
        return ""
    text = "\n".join(words)
    found = re.search(r"^--model[_-]name(?:=|\n)(\S+)$", text, re.MULTILINE)
    return f"/v2/models/{found[1]}/ready" if found else ""


def opens_port_when_ready(kind: ServerType, words: Sequence[str]) -> bool:
    """Return whether no port of it is open before its models are loaded and their own warm-up is done."""
    text = " ".join(words)
    explicit = "--model-control-mode" in text or "--exit-on-error=false" in text or "--strict-readiness=false" in text
    return kind is ServerType.TRITON and not explicit
