"""JSON bodies: reading them as servers do, and the values of a tensor as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import BYTES, Tensor


class NotJSONError(SampleError):
    """A body is not JSON at all."""


def json_value(body: bytes | memoryview) -> Any:
    """Return the JSON value of ``body``; NaN and Infinity pass, as they do with KServe's v2 endpoint.

    Raises:
        NotJSONError: it is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(bytes(body))
        except (ValueError, RecursionError):
            raise NotJSONError(f"the body is not JSON: {error}") from None


def json_object(body: bytes | memoryview, protocol: str) -> dict[str, Any]:
    """Return the JSON object of ``body``."""
    value = json_value(body)
    if not isinstance(value, dict):
        raise SampleError(f"a {protocol} body is a JSON object, not {type(value).__name__}")
    return value


def text(value: str, name: str) -> bytes:
    """Return a JSON string as UTF-8."""
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise SampleError(f"input {name!r} has a string that is not Unicode text (a lone surrogate)") from None


def json_values(tensor: Tensor, element: Callable[[bytes, str], Any]) -> Any:
    """Return a tensor as nested lists; ``element`` writes a ``BYTES`` element.

    Raises:
        SampleError: JSON has no NaN and no infinity.
    """
    if tensor.datatype == BYTES:
        out = np.empty(tensor.data.shape, dtype=np.object_)
        for index, value in np.ndenumerate(tensor.data):
            out[index] = element(value, tensor.name)
        return out.tolist()
    data = tensor.data.astype(np.float32) if tensor.datatype == "BF16" else tensor.data
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        raise SampleError(f"input {tensor.name!r} has NaN or infinity, which JSON cannot carry: use v2-binary or grpc")
    return data.tolist()
