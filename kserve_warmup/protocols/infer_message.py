"""Where the message class of gRPC bodies comes from: imported only where a body is read."""

from __future__ import annotations

from typing import Any


def model_infer_request() -> Any:
    """Return the message class ``ModelInferRequest``, which stands beside KServe's and tritonclient's."""
    from kserve_warmup.protocols.generated.inference_pb2 import ModelInferRequest

    return ModelInferRequest
