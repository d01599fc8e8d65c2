"""One codec a wire protocol, and the table of them: who handles requests asks the codec, not which protocol it is.

What is known of a protocol stands here and costs nothing. Its module, and numpy with it, is imported when the first of
its bodies is read.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.body_check import check_message, check_parameters
from kserve_warmup.protocols.inference_path import MODEL_INFER
from kserve_warmup.samples.sample import PROTOCOLS, Protocol, Sample, Signature, TensorSpec, keep_path

if TYPE_CHECKING:
    from kserve_warmup.protocols.edits import Edit
    from kserve_warmup.protocols.tensors import Tensor

JSON = "application/json"
BINARY = "application/octet-stream"

LENGTH_HEADER = "inference-header-content-length"
"""Tells how many bytes of a v2 binary body are JSON."""

_HEAD = 1024
_JSON_STARTS = (b"", b"{", b"[", b" ", b"\t", b"\r", b"\n")


class Body(ABC):
    """A request's body, parsed once, and asked for whatever one wants to know of it.

    Attributes:
        protocol: how it is written.
        raw: the body, byte for byte.
        headers: the request's, in lower case: those that it was recorded with, and what a server needs to read it.
    """

    protocol: ClassVar[Protocol]

    def __init__(self, raw: bytes, headers: Mapping[str, str]) -> None:
        """Take what was recorded."""
        self.raw = raw
        self.headers = dict(headers)
        if content_type := CODECS[self.protocol].content_type:
            self.headers.setdefault("content-type", content_type)

    @classmethod
    @abstractmethod
    def parse(cls, raw: bytes, headers: Mapping[str, str]) -> Body:
        """Return the body that ``raw`` is; of the headers only :data:`LENGTH_HEADER` is read, and may be lost.

        Raises:
            SampleError: it is no request of the protocol.
        """

    @classmethod
    def encode(cls, tensors: Sequence[Tensor], request_id: str | None) -> tuple[bytes, dict[str, str]]:  # noqa: ARG003
        """Return the body and the headers of a request that carries ``tensors``.

        Raises:
            SampleError: the protocol cannot carry one of them.
        """
        raise SampleError(_no_tensors(cls.protocol))

    @abstractmethod
    def signature(self) -> tuple[Signature, int]:
        """Return the signature and the batch size, reading no more of the body than that takes.

        Raises:
            SampleError: it is no request of the protocol.
        """

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the tensors, each with its full shape on the wire.

        Raises:
            SampleError: the protocol's bodies hold none, this one is malformed, or its rows are too uneven for tensors.
        """
        raise SampleError(_no_tensors(self.protocol))

    @property
    def path(self) -> str:
        """Return the path that such a body is usually sent to."""
        return CODECS[self.protocol].path

    def sample(self, path: str | None = None, weight: float = 1.0) -> Sample:
        """Return the sample that the request makes; ``path`` and ``weight`` are those of :func:`bodies.request`.

        Raises:
            SampleError: the body is no request or commands more than an inference, or the path is no inference
                endpoint.
        """
        signature, batch = self.signature()
        CODECS[self.protocol].check(self.raw, self.headers)
        where = self.path if path is None else keep_path(path, self.protocol)
        return Sample(self.protocol, self.raw, signature, batch, where, self.headers, weight)

    def edit(self, rules: Sequence[Edit], applied: list[int], *, strict: bool) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers after ``rules``; the very same body when nothing was to change.

        This body is used up by it.

        Args:
            rules: what is done, in this order.
            applied: for each rule, the places where it was applied are added.
            strict: whether to refuse text that none covers.

        Raises:
            UncoveredError: there is such text.
            SampleError: a rule does not fit.
        """
        changed = 0
        for number, rule in self.in_order(rules):
            places = self.change(rule)
            applied[number] += places
            changed += places
        if strict:
            self.refuse_uncovered()
        return self.written() if changed else (self.raw, self.headers)

    def in_order(self, rules: Sequence[Edit]) -> Iterable[tuple[int, Edit]]:
        """Return the rules with their numbers, in the order in which they are applied."""
        return enumerate(rules)

    @abstractmethod
    def change(self, rule: Edit) -> int:
        """Apply a rule to the parsed body; return the number of places."""

    @abstractmethod
    def refuse_uncovered(self) -> None:
        """Refuse text that no rule has changed and that is no part of the protocol."""

    @abstractmethod
    def written(self) -> tuple[bytes, dict[str, str]]:
        """Return the changed body as bytes, and its headers."""


def _nothing(_body: bytes, _headers: Mapping[str, str]) -> None:
    """Check nothing: these bodies have no way to command more than an inference."""


def _never(_body: bytes, _headers: Mapping[str, str]) -> bool:
    """Return False: it takes parsing to tell these bodies apart."""
    return False


@dataclass(frozen=True)
class Codec:
    """A wire protocol.

    Attributes:
        protocol: its name.
        reader: the module and the class in it that its bodies are.
        path: where requests are usually sent.
        suffix: of a file that holds a body.
        content_type: of a body, where it goes over HTTP.
        over_grpc: whether requests go over gRPC rather than HTTP.
        is_json: whether a body is JSON from its first byte to its last.
        has_tensors: whether bodies hold tensors; other requests are passed through as they are.
        is_typed: whether bodies declare their tensors' types.
        check: refuses a body that reaches beyond the model at hand, reading no more of it than that takes.
        looks: tells from a body's first bytes and its headers that it is probably one of this protocol.
    """

    protocol: Protocol
    reader: tuple[str, str]
    path: str
    suffix: str = ".json"
    content_type: str | None = JSON
    over_grpc: bool = False
    is_json: bool = True
    has_tensors: bool = True
    is_typed: bool = True
    check: Callable[[bytes, Mapping[str, str]], None] = _nothing
    looks: Callable[[bytes, Mapping[str, str]], bool] = _never

    @cached_property
    def body(self) -> type[Any]:
        """Return the class of its bodies."""
        module, name = self.reader
        found: type[Any] = getattr(importlib.import_module(f"kserve_warmup.protocols.{module}"), name)
        return found

    def parse(self, body: bytes, headers: Mapping[str, str]) -> Body:
        """Return a body, parsed; see :meth:`Body.parse`."""
        parsed: Body = self.body.parse(body, headers)
        return parsed


CODECS: dict[str, Codec] = {
    codec.protocol: codec
    for codec in (
        Codec("v1", ("v1", "V1Body"), "/v1/models/{model}:predict", is_typed=False),
        Codec("v2", ("v2", "V2Body"), "/v2/models/{model}/infer", check=check_parameters),
        Codec(
            "v2-binary",
            ("v2_binary", "BinaryBody"),
            "/v2/models/{model}/infer",
            suffix=".bin",
            content_type=BINARY,
            is_json=False,
            check=check_parameters,
            looks=lambda body, headers: LENGTH_HEADER in headers or b'"binary_data_size"' in body[:_HEAD],
        ),
        Codec(
            "grpc",
            ("grpc_body", "GrpcBody"),
            MODEL_INFER,
            suffix=".pb",
            content_type=None,
            over_grpc=True,
            is_json=False,
            check=check_message,
            looks=lambda body, _: body[:1] not in _JSON_STARTS,
        ),
        Codec("openai", ("openai", "OpenAIBody"), "/openai/v1/chat/completions", has_tensors=False, is_typed=False),
    )
}


def codec_of(protocol: str) -> Codec:
    """Return the codec of a protocol.

    Raises:
        SampleError: there is none.
    """
    if protocol not in CODECS:
        raise SampleError(f"unknown protocol {protocol!r}: use one of {', '.join(PROTOCOLS)}")
    return CODECS[protocol]


def over_grpc(sample: Sample) -> bool:
    """Return whether a sample is sent over gRPC rather than HTTP."""
    return CODECS[sample.protocol].over_grpc


def check_body(protocol: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Refuse a body that reaches beyond the model at hand; what is no request at all is left to who reads it.

    Raises:
        SampleError: it names shared memory, or is a gRPC message that is cut off or malformed.
    """
    codec_of(protocol).check(body, headers)


def declared_signature(inputs: Iterable[tuple[str, str, Sequence[int]]]) -> tuple[Signature, int]:
    """Return the signature and the batch size of inputs: names, types and full shapes."""
    found = [(name, datatype, tuple(shape)) for name, datatype, shape in inputs]
    leading = {shape[0] if shape else 0 for _, _, shape in found}
    batched = len(leading) == 1 and min(leading) > 0  # no rows at all is no batch either
    specs = [TensorSpec(name, datatype, shape[1:] if batched else shape) for name, datatype, shape in sorted(found)]
    return Signature(tuple(specs), batched), leading.pop() if batched else 1


def _no_tensors(protocol: str) -> str:
    having = [codec.protocol for codec in CODECS.values() if codec.has_tensors]
    return f"{protocol} bodies hold no tensors: use {', '.join(having[:-1])} or {having[-1]}"
