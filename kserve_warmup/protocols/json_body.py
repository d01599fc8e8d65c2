"""JSON bodies: reading them as servers do, changing them, and the values of a tensor as JSON."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import Body
from kserve_warmup.protocols.edits import dumps
from kserve_warmup.protocols.tensors import BYTES, Tensor

try:
    from pybase64 import b64decode, b64encode
except ImportError:  # an extra's, and several times as fast
    from base64 import b64decode, b64encode  # type: ignore[assignment]


class NotJSONError(SampleError):
    """A body is not JSON at all."""


def json_value(body: bytes | memoryview, what: str = "the body is ") -> Any:
    """Return the JSON value of ``body``; NaN and Infinity pass, as they do with KServe's v2 endpoint.

    Raises:
        NotJSONError: it (``what``, in words) is not JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(bytes(body))
        except (ValueError, RecursionError):
            raise NotJSONError(f"{what}not JSON: {error}") from None


def json_bytes(value: Any) -> bytes:
    """Return a JSON value as text; NaN and infinity stay what they are, where orjson would write null."""
    try:
        written = orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits
        return dumps(value)
    return dumps(value) if b"null" in written else written


def json_object(body: bytes | memoryview, protocol: str) -> dict[str, Any]:
    """Return the JSON object of ``body``."""
    value = json_value(body)
    if not isinstance(value, dict):
        raise SampleError(f"a {protocol} body is a JSON object, not {type(value).__name__}")
    return value


def json_container(body: bytes, protocol: str) -> Any:
    """Return the JSON object or array of ``body``.

    Raises:
        NotJSONError: it is neither.
    """
    value = json_value(body)
    if not isinstance(value, (dict, list)):
        raise NotJSONError(f"a {protocol} body is a JSON object or array, not {type(value).__name__}")
    return value


class JSONBody(Body):
    """A body that is a JSON object."""

    def __init__(self, document: dict[str, Any], raw: bytes, recorded: Mapping[str, str]) -> None:
        """Take the body, and what it says."""
        super().__init__(raw, recorded)
        self.document = document

    @classmethod
    def parse(cls, raw: bytes, headers: Mapping[str, str]) -> JSONBody:
        return cls(json_object(raw, cls.protocol), raw, headers)

    @classmethod
    def claims(cls, document: dict[str, Any]) -> bool:  # noqa: ARG003
        """Return whether a JSON object of unknown protocol is one of this."""
        return False

    def written(self) -> tuple[bytes, dict[str, str]]:
        return dumps(self.document), self.headers


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


def unbase64(text: Any, problem: str) -> bytes:
    """Return what base64 stands for.

    Raises:
        SampleError: ``problem``: it is no base64.
    """
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise SampleError(problem) from None


def base64_text(data: bytes) -> str:
    """Return ``data`` in base64."""
    return b64encode(data).decode()
