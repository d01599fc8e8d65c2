"""Request bodies of every protocol ⇄ tensors, and the :class:`Sample` that a recorded body makes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols import grpc_body as _grpc
from kserve_warmup.protocols import openai as _openai
from kserve_warmup.protocols import v1 as _v1
from kserve_warmup.protocols import v2 as _v2
from kserve_warmup.protocols.body_check import check_body
from kserve_warmup.protocols.json_body import NotJSONError, json_object
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.sample import (
    DEFAULT_PATHS,
    PROTOCOLS,
    Protocol,
    Sample,
    Signature,
    TensorSpec,
    keep_headers,
    keep_path,
)

__all__ = ["Tensor", "decode", "detect", "encode", "identify", "infer_signature", "request"]

_JSON = "application/json"
_BINARY = "application/octet-stream"
_CONTENT_TYPES: dict[Protocol, str] = {"v1": _JSON, "v2": _JSON, "openai": _JSON, "v2-binary": _BINARY}
_HEAD = 1024
_JSON_STARTS = (b"", b"{", b"[", b" ", b"\t", b"\r", b"\n")
_BINARY_PROTOCOLS: tuple[Protocol, ...] = ("v2-binary", "grpc")


def decode(protocol: Protocol, body: bytes, headers: Mapping[str, str]) -> tuple[Tensor, ...]:
    """Return the tensors of a request body, each with its full shape on the wire.

    Args:
        protocol: how the body is encoded; ``openai`` bodies hold no tensors.
        body: the request's body, byte for byte.
        headers: the request's headers in lower case; only ``inference-header-content-length`` is read, and a
            ``v2-binary`` body can do without it.

    Raises:
        SampleError: the body is malformed, or its rows are too uneven for tensors.
    """
    if protocol == "v1":
        return _v1.decode(body)
    if protocol == "v2":
        return tuple(_v2.decode(json_object(body, "v2"), memoryview(b"")))
    if protocol == "v2-binary":
        return tuple(_v2.decode(*_v2.split(body, headers)))
    if protocol == "grpc":
        return tuple(_grpc.decode(body))
    raise SampleError(f"{protocol} bodies hold no tensors: use v1, v2, v2-binary or grpc")


def encode(
    protocol: Protocol, tensors: Sequence[Tensor], *, request_id: str | None = None
) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request that carries ``tensors``; :func:`decode` gives them back exactly.

    ``v1`` has neither ids nor declared types: INT64, FP64, BOOL and BYTES come back as they are, others widened. A
    ``grpc`` body leaves ``model_name`` empty, and has no headers.

    Raises:
        SampleError: the protocol cannot carry a tensor, such as BF16 or NaN in JSON.
    """
    if not tensors or len({t.name for t in tensors}) != len(tensors):
        msg = "a request needs inputs, each with a name of its own"
        raise SampleError(msg)
    if protocol == "v1":
        return _v1.encode(tensors), {"content-type": _JSON}
    if protocol == "v2":
        return _v2.encode_json(tensors, request_id), {"content-type": _JSON}
    if protocol == "v2-binary":
        body, length = _v2.encode_binary(tensors, request_id)
        return body, {"content-type": _BINARY, _v2.LENGTH_HEADER: str(length)}
    if protocol == "grpc":
        return _grpc.encode(tensors, request_id), {}
    raise SampleError(f"{protocol} bodies hold no tensors: use v1, v2, v2-binary or grpc")


def request(
    protocol: Protocol,
    body: bytes,
    *,
    path: str | None = None,
    headers: Mapping[str, str] | None = None,
    weight: float = 1.0,
) -> Sample:
    """Return the sample that a recorded request makes: its body as it is, and what the body tells of its stratum.

    Args:
        protocol: how the body is encoded.
        body: the request's body, byte for byte.
        path: where it was sent; a model's name in it gives way to ``{model}``, a query is cut off. None: the
            protocol's usual path.
        headers: as recorded, in any case; only allow-listed ones are kept, and a lost
            ``inference-header-content-length`` is found again.
        weight: the share (0 to 1) of the traffic that the request stands for.

    Raises:
        SampleError: the protocol is unknown, the body is not a request of it or commands more than an inference, or
            the path is no inference endpoint.
    """
    kept = keep_headers(headers or {})
    default = DEFAULT_PATHS.get(protocol, "")
    if protocol == "openai":
        signature, batch, default = _openai.signature(json_object(body, protocol))
    else:
        signature, batch = infer_signature(protocol, body, kept)
    if protocol in _CONTENT_TYPES:
        kept.setdefault("content-type", _CONTENT_TYPES[protocol])
    if protocol == "v2-binary":
        kept.setdefault(_v2.LENGTH_HEADER, str(len(body) - len(_v2.split(body, kept)[1])))
    check_body(protocol, body, kept)
    where = default if path is None else keep_path(path, protocol)
    return Sample(protocol, body, signature, batch, where, kept, weight)


def infer_signature(protocol: Protocol, body: bytes, headers: Mapping[str, str]) -> tuple[Signature, int]:
    """Return the signature and the batch size of a body, reading no more of it than that takes."""
    if protocol in ("v1", "v2", "openai"):
        return json_signature(protocol, json_object(body, protocol))
    if protocol == "v2-binary":
        items = _v2.inputs(_v2.split(body, headers)[0])
        return _signature((i["name"], i["datatype"], i["shape"]) for i in items)
    if protocol == "grpc":
        return _signature((i.name, i.datatype, i.shape) for i in _grpc.parse(body).inputs)
    raise SampleError(f"unknown protocol {protocol!r}: use one of {', '.join(PROTOCOLS)}")


def json_signature(protocol: Protocol, document: dict[str, Any]) -> tuple[Signature, int]:
    """Return the signature and the batch size of a JSON body that is parsed already."""
    if protocol == "v1":
        return _v1.signature(document)
    if protocol == "openai":
        return _openai.signature(document)[:2]
    items = _v2.inputs(document)
    if any(not isinstance(i.get("data"), list) for i in items):
        msg = "a v2 JSON body has a list of data in every input"
        raise SampleError(msg)
    return _signature((i["name"], i["datatype"], i["shape"]) for i in items)


def identify(body: bytes, headers: Mapping[str, str] | None = None) -> tuple[Protocol, Signature, int]:
    """Return protocol, signature and batch size of a body, the protocol told by its content alone.

    Raises:
        SampleError: it is none that a warm-up can send.
    """
    kept = keep_headers(headers or {})
    for protocol in _likely(body, kept):
        with contextlib.suppress(SampleError):
            return (protocol, *infer_signature(protocol, body, kept))
    try:
        document = json_object(body, "request")
    except NotJSONError:
        for protocol in _BINARY_PROTOCOLS:
            with contextlib.suppress(SampleError):
                return (protocol, *infer_signature(protocol, body, kept))
        msg = f"the body ({len(body)} bytes) is neither JSON, v2 binary nor a gRPC ModelInferRequest"
        raise SampleError(msg) from None
    protocol = detect_json(document)
    return (protocol, *json_signature(protocol, document))


def detect(body: bytes, headers: Mapping[str, str] | None = None) -> Protocol:
    """Return the protocol that a body is written in, as :func:`identify` does."""
    return identify(body, headers)[0]


def _likely(body: bytes, headers: Mapping[str, str]) -> tuple[Protocol, ...]:
    """Return the protocol that a binary body has by its looks, to spare parsing it as JSON first."""
    if _v2.LENGTH_HEADER in headers or b'"binary_data_size"' in body[:_HEAD]:
        return ("v2-binary",)
    return () if body[:1] in _JSON_STARTS else ("grpc",)


def detect_json(document: dict[str, Any]) -> Protocol:
    """Return the protocol of a JSON body that is parsed already."""
    items = document.get("inputs")
    if isinstance(items, list) and items and all(isinstance(i, dict) and "datatype" in i for i in items):
        return "v2"
    if "instances" in document or "inputs" in document:
        return "v1"
    if _openai.kind_of(document):
        return "openai"
    msg = "the body is neither v1, v2 nor OpenAI: it has no instances, inputs, messages, prompt or input"
    raise SampleError(msg)


def _signature(inputs: Iterable[tuple[str, str, Sequence[int]]]) -> tuple[Signature, int]:
    found = [(name, datatype, tuple(shape)) for name, datatype, shape in inputs]
    leading = {shape[0] if shape else 0 for _, _, shape in found}
    batched = len(leading) == 1 and min(leading) > 0  # no rows at all is no batch either
    specs = [TensorSpec(name, datatype, shape[1:] if batched else shape) for name, datatype, shape in sorted(found)]
    return Signature(tuple(specs), batched), leading.pop() if batched else 1
