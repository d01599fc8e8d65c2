"""Request bodies of every protocol ⇄ tensors, and the :class:`Sample` that a recorded body makes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import CODECS, Body, codec_of
from kserve_warmup.protocols.json_body import JSONBody, NotJSONError, json_value
from kserve_warmup.protocols.own_json import refuse_envelope
from kserve_warmup.protocols.raw_body import UNTOLD
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.sample import Protocol, Sample, keep_headers

__all__ = ["Tensor", "decode", "encode", "identify", "json_body", "parse", "request"]

_BINARY = [codec for codec in CODECS.values() if not codec.is_json]

_CLAIMING = ("v2", "v1", "openai")
"""JSON protocols in the order in which they are asked whether a document is theirs; v1 would take v2's too."""


def parse(protocol: str, body: bytes, headers: Mapping[str, str]) -> Body:
    """Return a body of a known protocol, parsed.

    Args:
        protocol: how it is encoded.
        body: byte for byte.
        headers: the request's, in any case; only allow-listed ones are kept.

    Raises:
        SampleError: the protocol is unknown, or the body is no request of it.
    """
    return codec_of(protocol).body.parse(body, keep_headers(headers))


def identify(body: bytes, headers: Mapping[str, str] | None = None) -> Body:
    """Return a body, parsed, whose protocol is told by its content alone.

    Raises:
        SampleError: it is none that a warm-up can send.
    """
    kept = keep_headers(headers or {})
    for codec in _BINARY:
        if codec.looks(body, kept):  # which spares parsing it as JSON first
            with contextlib.suppress(SampleError):
                return codec.body.parse(body, kept)
    try:
        document = json_value(body)
    except NotJSONError:
        for codec in _BINARY:
            with contextlib.suppress(SampleError):
                return codec.body.parse(body, kept)
        msg = f"the body ({len(body)} bytes{_begins(body)}) is neither JSON, v2 binary nor a gRPC ModelInferRequest"
        raise SampleError(f"{msg}, and {UNTOLD}") from None
    if isinstance(document, dict):
        return json_body(document, body, kept)
    if "content-type" not in kept:
        refuse_envelope(document)
    return parse("v1", body, kept)  # an array; all else is refused, or is no JSON by its content type


def is_claimed(document: dict[str, Any]) -> bool:
    """Return whether a JSON object tells by its fields which protocol's request it is."""
    return any(cast("type[JSONBody]", CODECS[name].body).claims(document) for name in _CLAIMING)


def json_body(
    document: dict[str, Any], raw: bytes = b"", headers: Mapping[str, str] | None = None, protocol: str | None = None
) -> JSONBody:
    """Return the body of a JSON object that is parsed already.

    Args:
        document: what the body says.
        raw: the body; nothing where it is only asked what the document tells.
        headers: allow-listed ones.
        protocol: how it is encoded; None: to be told by the document.

    Raises:
        SampleError: the document is no request.
    """
    for name in [protocol] if protocol else _CLAIMING:
        found = cast("type[JSONBody]", CODECS[name].body)
        if protocol or found.claims(document):
            return found(document, raw, headers or {})
    if "content-type" not in (headers or {}):  # which a log of requests has, and any other file has not
        refuse_envelope(document)
    return cast("type[JSONBody]", CODECS["v1"].body)(document, raw, headers or {})


def _begins(body: bytes) -> str:
    """Return in words how a body begins."""
    return f" that begin with {body[:12].decode(errors='backslashreplace')!r}" if body else ""


def decode(protocol: Protocol, body: bytes, headers: Mapping[str, str]) -> tuple[Tensor, ...]:
    """Return the tensors of a request body, each with its full shape on the wire.

    Raises:
        SampleError: the body is malformed, holds no tensors, or its rows are too uneven for them.
    """
    return parse(protocol, body, headers).tensors()


def encode(
    protocol: Protocol, tensors: Sequence[Tensor], *, request_id: str | None = None
) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request that carries ``tensors``; :func:`decode` gives them back exactly.

    ``v1`` has neither ids nor declared types: INT64, FP64, BOOL and BYTES come back as they are, others widened.

    Raises:
        SampleError: the protocol cannot carry a tensor, such as BF16 or NaN in JSON.
    """
    if not tensors or len({t.name for t in tensors}) != len(tensors):
        msg = "a request needs inputs, each with a name of its own"
        raise SampleError(msg)
    return codec_of(protocol).body.encode(tensors, request_id)


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
    return parse(protocol, body, headers or {}).sample(path, weight)
