"""One codec a wire protocol, and the table of them: who handles requests asks the codec, not which protocol it is.

What is known of a protocol stands here and costs nothing. Its module, and numpy with it, is imported when the first of
its bodies is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.body_check import check_message, check_parameters
from kserve_warmup.protocols.inference_path import MODEL_INFER
from kserve_warmup.protocols.variant import Variant
from kserve_warmup.samples.sample import PROTOCOLS, Protocol, Sample, Signature, TensorSpec, keep_path

if TYPE_CHECKING:
    from kserve_warmup.protocols.edits import Edit, Parts, Place
    from kserve_warmup.protocols.tensors import Tensor

JSON = "application/json"
BINARY = "application/octet-stream"

LENGTH_HEADER = "inference-header-content-length"
"""Tells how many bytes of a v2 binary body are JSON."""

_HEAD = 1024
_JSON_STARTS = (b"", b"{", b"[", b" ", b"\t", b"\r", b"\n")


class Body(ABC):
    """A request's body, parsed once, and asked for whatever one wants to know of it; all may raise SampleError.

    Attributes:
        protocol: how it is written.
        raw: the body, byte for byte.
        document: what it says, as JSON has it; of tensors in binary all but the data.
    """

    protocol: ClassVar[Protocol]
    document: dict[str, Any]

    def __init__(self, raw: bytes, recorded: Mapping[str, str]) -> None:
        """Take the body and the headers that it was recorded with, allow-listed ones in lower case."""
        self.raw, self.recorded = raw, recorded

    @cached_property
    def headers(self) -> dict[str, str]:
        """Return the request's headers: the recorded ones, and what a server needs to read the body."""
        content_type = CODECS[self.protocol].content_type
        return {**({"content-type": content_type} if content_type else {}), **self.recorded}

    @cached_property
    def covered(self) -> set[str]:
        """Return the names of tensors beside the document that a rule has changed; they are added as it does."""
        return set()

    @classmethod
    @abstractmethod
    def parse(cls, raw: bytes, headers: Mapping[str, str]) -> Body:
        """Return the body that ``raw`` is; of the headers only :data:`LENGTH_HEADER` is read, and may be lost."""

    @classmethod
    def encode(cls, tensors: Sequence[Tensor], request_id: str | None) -> tuple[bytes, dict[str, str]]:  # noqa: ARG003
        """Return the body and the headers of a request that carries ``tensors``."""
        raise _no_tensors(cls.protocol)

    @abstractmethod
    def signature(self) -> tuple[Signature, int]:
        """Return the signature and the batch size, reading no more of the body than that takes."""

    def variant(self) -> Variant:
        """Return what else in the body takes another path through a server."""
        return ()

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the tensors, each with its full shape on the wire."""
        raise _no_tensors(self.protocol)

    @property
    def path(self) -> str:
        """Return the path that such a body is usually sent to."""
        return CODECS[self.protocol].path

    def sample(self, path: str | None = None, weight: float = 1.0) -> Sample:
        """Return the sample that the request makes; ``path`` and ``weight`` are those of :func:`bodies.request`."""
        signature, batch = self.signature()
        CODECS[self.protocol].check(self.raw, self.headers)
        where = self.path if path is None else keep_path(path, self.protocol)
        return Sample(self.protocol, self.raw, signature, batch, where, self.headers, weight, self.variant())

    def edit(self, rules: Sequence[Edit], applied: list[int], *, strict: bool) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers after ``rules``; the very same body when nothing was to change.

        This body is used up by it.

        Args:
            rules: what is done, in this order.
            applied: for each rule, the places where it was applied are added.
            strict: whether to raise UncoveredError when there is text that none covers.
        """
        changed = 0
        for number, rule in enumerate(rules):
            places = self.change(rule)
            applied[number] += places
            changed += places
        if strict:
            self.refuse_uncovered()
        return self.written() if changed else (self.raw, self.headers)

    def change(self, rule: Edit) -> int:
        """Apply a rule to the document; return the number of places."""
        if rule.find is None:
            return rule.change(self.places(rule))
        return rule.change((parent, key, self.datatype_at(parts)) for parent, key, parts in rule.find(self.document))

    def places(self, rule: Edit) -> Iterator[Place]:  # noqa: ARG002
        """Yield where in the document the input lies that a rule names."""
        yield from ()

    def datatype_at(self, parts: Parts) -> str | None:  # noqa: ARG002
        """Return the type that the document itself gives to a value, None where it gives none."""
        return None

    def is_structural(self, parts: Parts) -> bool:
        """Return whether text at a place of the document is part of the protocol and nobody's input."""
        if parts[-2:] == ("parameters", "content_type"):
            return True
        return len(parts) > 2 and parts[0] in ("inputs", "outputs") and parts[2:] in (("name",), ("datatype",))  # noqa: PLR2004

    def refuse_uncovered(self) -> None:
        """Refuse text that no rule has changed."""
        from kserve_warmup.protocols.edits import refuse_tensors, refuse_text

        refuse_text({k: v for k, v in self.document.items() if v}, self.is_structural)  # a message's empty id is none
        refuse_tensors(self.loose(), self.covered)

    def loose(self) -> Iterable[tuple[str, str]]:
        """Yield names and datatypes of the tensors whose data is not in the document."""
        return ()

    @abstractmethod
    def written(self) -> tuple[bytes, dict[str, str]]:
        """Return the changed body as bytes, and its headers."""


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
        by_token: whether servers answer token by token, and batch so: several requests at once are nothing new to them.
        is_typed: whether bodies declare their tensors' types.
        check: refuses a body that reaches beyond the model at hand, reading no more of it than that takes.
        looks: tells from a body and its headers, without parsing, that it is probably one of this protocol.
    """

    protocol: Protocol
    reader: tuple[str, str]
    path: str
    suffix: str = ".json"
    content_type: str | None = JSON
    over_grpc: bool = False
    is_json: bool = True
    has_tensors: bool = True
    by_token: bool = False
    is_typed: bool = True
    check: Callable[[bytes, Mapping[str, str]], None] = lambda _body, _headers: None
    looks: Callable[[bytes, Mapping[str, str]], bool] = lambda _body, _headers: False

    @cached_property
    def body(self) -> type[Body]:
        """Return the class of its bodies."""
        found: type[Body] = getattr(import_module(f"kserve_warmup.protocols.{self.reader[0]}"), self.reader[1])
        return found


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
        Codec(
            "openai",
            ("openai", "OpenAIBody"),
            "/openai/v1/chat/completions",
            has_tensors=False,
            by_token=True,
            is_typed=False,
        ),
        Codec(
            "raw",
            ("raw_body", "RawBody"),
            "/v1/models/{model}:predict",
            suffix=".bin",
            content_type=BINARY,
            is_json=False,
            has_tensors=False,
            is_typed=False,
        ),
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


def _no_tensors(protocol: str) -> SampleError:
    *most, last = (codec.protocol for codec in CODECS.values() if codec.has_tensors)
    return SampleError(f"{protocol} bodies hold no tensors: use {', '.join(most)} or {last}")
