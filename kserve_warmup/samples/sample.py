"""One real request, and the stratum of traffic that it stands for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.inference_path import MODEL_INFER, InferencePath, recorded

Protocol = Literal["v1", "v2", "v2-binary", "grpc", "openai"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

DEFAULT_PATHS: dict[Protocol, str] = {
    "v1": "/v1/models/{model}:predict",
    "v2": "/v2/models/{model}/infer",
    "v2-binary": "/v2/models/{model}/infer",
    "grpc": MODEL_INFER,
    "openai": "/openai/v1/chat/completions",
}

HEADER_ALLOW_LIST = frozenset({"content-type", "accept", "inference-header-content-length"})
"""The only headers a sample keeps: what a server needs to read the body, and nothing about who sent it."""

DATATYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "BF16", "FP32", "FP64", "BYTES"),
)
"""The Open Inference Protocol's types by name; ``datatypes`` has what they are in numpy, which opening a set spares."""

UNTYPED = "JSON"
"""Stands for the datatype of an input that no tensor can hold: mixed types, nulls, nested objects."""

RAGGED = -1
"""Stands in a shape for a dimension whose rows differ in length."""


@dataclass(frozen=True, slots=True, order=True)
class TensorSpec:
    """An input as one row of a request has it.

    ``datatype`` is an Open Inference Protocol type (``FP32``, ``BYTES`` …); ``shape`` leaves the batch dimension out
    when the signature is batched, and is the full shape otherwise.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What the requests of one stratum have in common: input names, types and shapes, whatever their batch size.

    ``inputs`` are ordered by name. ``batched`` says whether a leading dimension, shared by all inputs, was taken off.
    """

    inputs: tuple[TensorSpec, ...]
    batched: bool = True

    def full_shape(self, spec: TensorSpec, batch: int) -> tuple[int, ...]:
        """Return the shape on the wire of ``spec`` in a request of ``batch`` rows."""
        return (batch, *spec.shape) if self.batched else spec.shape

    def __str__(self) -> str:
        """Return a short form for tables and logs, which no other signature has.

        Such as ``image:FP32[N,64]``, where N is the batch, and ``image:FP32[64]`` where there is none.
        """
        rows = ("N",) if self.batched else ()
        return " ".join(f"{_shown(i.name)}:{i.datatype}[{','.join((*rows, *map(str, i.shape)))}]" for i in self.inputs)


def _shown(name: str) -> str:
    """Return an input's name, quoted where it might be taken for several inputs."""
    return json.dumps(name, ensure_ascii=False) if "] " in name or name.startswith('"') else name


@dataclass(frozen=True, slots=True)
class Sample:
    """A request as it came over the wire.

    ``body`` is the request's body, byte for byte: JSON for ``v1``, ``v2`` and ``openai``, JSON followed by raw tensors
    for ``v2-binary``, a serialised ``ModelInferRequest`` for ``grpc``. ``path`` is that of an inference endpoint, with
    ``{model}`` for the model's name: checked where a sample is made, read, written and sent. ``headers`` have
    lower-case names, allow-listed ones only. ``weight`` is the share (0 to 1) of the traffic that it stands for.
    """

    protocol: Protocol
    body: bytes = field(repr=False)
    signature: Signature
    batch: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a protocol that nothing can send."""
        if self.protocol not in PROTOCOLS:
            msg = f"unknown protocol {self.protocol!r}: use one of {', '.join(PROTOCOLS)}"
            raise SampleError(msg)

    @property
    def endpoint(self) -> InferencePath:
        """Return what the path says, in parts.

        Raises:
            SampleError: it is no inference endpoint.
        """
        return InferencePath.parse(self.path, self.protocol)

    @property
    def verb(self) -> str:
        """Return what is asked of the model, such as ``predict``, ``explain`` or ``infer``."""
        return self.endpoint.verb

    @property
    def id(self) -> str:
        """Return the hex digest (128 bits) of everything that is sent; equal requests have equal ids."""
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.protocol, self.path, *(f"{k}:{v}" for k, v in sorted(self.headers.items()))):
            digest.update(part.encode() + b"\0")
        digest.update(self.body)
        return digest.hexdigest()

    @property
    def stratum(self) -> tuple[Protocol, Signature, int]:
        """Return the key of the sample's stratum: protocol, signature and batch size."""
        return (self.protocol, self.signature, self.batch)

    def with_weight(self, weight: float) -> Sample:
        """Return the same request standing for another share of the traffic."""
        return replace(self, weight=weight)

    def path_for(self, model: str) -> str:
        """Return the path to send to, built from the endpoint and the name of ``model``; gRPC has one method.

        Raises:
            SampleError: the name cannot stand in a path.
        """
        return MODEL_INFER if self.protocol == "grpc" else self.endpoint.url_path(model)


def keep_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the allow-listed headers, names in lower case.

    Raises:
        SampleError: a value is not printable ASCII, and so was never a header.
    """
    kept = {}
    for name, value in headers.items():
        if name.lower() not in HEADER_ALLOW_LIST:
            continue
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise SampleError(f"header {name.lower()!r} has a value that no header can have")
        kept[name.lower()] = value.strip()
    return kept


def keep_path(path: str, protocol: Protocol | None = None) -> str:
    """Return a request's path with ``{model}`` for the model's name; host and query, which may hold secrets, are cut.

    Raises:
        SampleError: it is no inference endpoint (of ``protocol``, where that is known).
    """
    return recorded(path, protocol).template
