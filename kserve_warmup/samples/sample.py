"""One real request, and the stratum of traffic that it stands for."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.inference_path import MODEL_INFER, InferencePath, recorded
from kserve_warmup.protocols.variant import Variant

Protocol = Literal["v1", "v2", "v2-binary", "grpc", "openai", "raw"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)

DEFAULT_PATHS: dict[Protocol, str] = {
    "v1": "/v1/models/{model}:predict",
    "v2": "/v2/models/{model}/infer",
    "v2-binary": "/v2/models/{model}/infer",
    "grpc": MODEL_INFER,
    "openai": "/openai/v1/chat/completions",
    "raw": "/v1/models/{model}:predict",
}
"""Where a request was sent whose recording does not tell; an OpenAI body tells more."""

USUAL_VERBS = frozenset(
    {"predict", "infer", "ModelInfer", "v1/chat/completions", "v1/completions", "v1/embeddings", "v1/rerank"}
)
"""What protocol and signature tell already, and a stratum's words leave out."""

ANY_NAME = "*"
"""Stands in a signature for inputs whose names differ in every request."""

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

    def naming(self, names: Collection[str]) -> Signature:
        """Return the signature with these inputs' names; others of one type and shape are one input of any name."""
        if all(spec.name in names for spec in self.inputs):
            return self
        specs = {spec if spec.name in names else replace(spec, name=ANY_NAME) for spec in self.inputs}
        return Signature(tuple(sorted(specs)), self.batched)

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


def _quoted(value: str) -> str:
    """Return a fact's value, quoted where it might be taken for several facts."""
    return json.dumps(value, ensure_ascii=False) if " " in value or value.startswith('"') else value


class Stratum(NamedTuple):
    """Requests that are alike for a server: they go the same way through it, and take about the same time.

    ``verb`` is what is asked of the model, such as ``predict``, ``explain`` or ``infer``. ``variant`` is what else in
    the requests chooses a path: names and values, ordered by name, such as ``(("signature_name", "decode"),)``.
    """

    protocol: Protocol
    verb: str
    signature: Signature
    batch: int
    variant: Variant = ()

    def at(self, endpoint: InferencePath) -> Stratum:
        """Return the stratum of the same bodies sent to ``endpoint``; gRPC has one method."""
        variant = self.variant
        if self.protocol == "grpc":
            return self
        if endpoint.version is not None:
            variant = tuple(sorted((*variant, ("version", endpoint.version))))
        return self._replace(verb=endpoint.verb, variant=variant)

    @property
    def words(self) -> str:
        """Return what protocol, signature and batch do not tell, such as ``explain stream model=tuned``; often ''."""
        facts = (name if value == "true" else f"{name}={_quoted(value)}" for name, value in self.variant)
        return " ".join((*(() if self.verb in USUAL_VERBS else (self.verb,)), *facts))

    @property
    def key(self) -> tuple[str, str, str, int]:
        """Return what reports know it by: protocol, signature, words and batch size."""
        return (self.protocol, str(self.signature), self.words, self.batch)

    def __str__(self) -> str:
        """Return a short form for tables and logs, such as ``v2 image:FP32[N,64] batch 8``."""
        return " ".join(filter(None, (*self.key[:3], f"batch {self.batch}")))


class StoredBody(NamedTuple):
    """A body that is left where it lies until it is needed.

    ``id`` is its sample's, ``size`` its bytes; ``read`` returns it, checked, or raises SampleError.
    """

    id: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True, eq=False)
class Sample:
    """A request as it came over the wire.

    ``body`` is the request's body, byte for byte: JSON for ``v1``, ``v2`` and ``openai``, JSON followed by raw
    tensors for ``v2-binary``, a serialised ``ModelInferRequest`` for ``grpc``, bytes of its content type for
    ``raw``. That of a sample set is read from its file at each use, which raises SampleError where the file is no
    longer what it was. ``path`` is that of an inference endpoint, with ``{model}`` for the model's name: checked
    where a sample is made, read, written and sent. ``headers`` have lower-case names, allow-listed ones only.
    ``weight`` is the share (0 to 1) of the traffic that it stands for. ``variant`` is what in the body takes
    another path through a server (see :class:`Stratum`).
    """

    protocol: Protocol
    body: bytes = field(repr=False)
    signature: Signature
    batch: int
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    weight: float = 1.0
    variant: Variant = ()

    def __post_init__(self) -> None:
        """Refuse a protocol that nothing can send."""
        if self.protocol not in PROTOCOLS:
            msg = f"unknown protocol {self.protocol!r}: use one of {', '.join(PROTOCOLS)}"
            raise SampleError(msg)

    def __eq__(self, other: object) -> bool:
        """Return whether both are the same request, described alike; no body is read for that."""
        return isinstance(other, Sample) and self._identity == other._identity

    def __hash__(self) -> int:
        """Return a hash that equal requests share."""
        return hash(self.id)

    @property
    def _identity(self) -> tuple[object, ...]:
        return (self.id, self.signature, self.batch, self.weight, self.variant)

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
        stored = self.__dict__["body"]
        if isinstance(stored, StoredBody):
            return stored.id
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.protocol, self.path, *(f"{k}:{v}" for k, v in sorted(self.headers.items()))):
            digest.update(part.encode() + b"\0")
        digest.update(self.body)
        return digest.hexdigest()

    @property
    def size(self) -> int:
        """Return the bytes of the body, which is not read for that."""
        body = self.__dict__["body"]
        return body.size if isinstance(body, StoredBody) else len(body)

    @property
    def stratum(self) -> Stratum:
        """Return what the request is alike with.

        Raises:
            SampleError: the path is no inference endpoint.
        """
        return Stratum(self.protocol, "ModelInfer", self.signature, self.batch, self.variant).at(self.endpoint)

    def with_weight(self, weight: float) -> Sample:
        """Return the same request standing for another share of the traffic."""
        return self.but(weight=weight)

    def of(self, stratum: Stratum) -> Sample:
        """Return the same request in the words of its stratum, which may leave out what differs in every request."""
        signature, names = self.signature, {spec.name for spec in stratum.signature.inputs}
        if ANY_NAME in names:
            alike = signature.naming(()) == stratum.signature.naming(())  # unless its stratum's shapes are rounded
            signature = stratum.signature if alike else signature.naming(names)
        facts = {name for name, _ in stratum.variant}
        return self.but(signature=signature, variant=tuple(fact for fact in self.variant if fact[0] in facts))

    def but(self, **fields: Any) -> Sample:
        """Return the same request with other fields; ``dataclasses.replace`` would read its body."""
        made = copy.copy(self)
        made.__dict__.update(fields)
        return made

    def path_for(self, model: str) -> str:
        """Return the path to send to, built from the endpoint and the name of ``model``; gRPC has one method.

        Raises:
            SampleError: the name cannot stand in a path.
        """
        return MODEL_INFER if self.protocol == "grpc" else self.endpoint.url_path(model)


class _Body:
    """The attribute ``body`` of a sample: bytes in memory, or read from where they are stored at each use."""

    def __get__(self, sample: Sample, owner: type) -> bytes:
        body: bytes | StoredBody = sample.__dict__["body"]
        return body.read() if isinstance(body, StoredBody) else body

    def __set__(self, sample: Sample, body: bytes | StoredBody) -> None:
        sample.__dict__["body"] = body


Sample.body = _Body()  # type: ignore[assignment]  # after the dataclass was made, which would take it for a default


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
