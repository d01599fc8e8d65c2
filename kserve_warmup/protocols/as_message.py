"""A v2 request over REST as the gRPC message that asks for the same."""

from __future__ import annotations

from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode, encode, parse
from kserve_warmup.protocols.inference_path import MODEL_INFER
from kserve_warmup.protocols.protobuf_fields import infer_request
from kserve_warmup.samples.sample import Sample

_OF_REST = frozenset({"binary_data_output", "binary_data"})
"""Parameters that say how an HTTP answer is to be written."""

_KINDS = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}


def as_message(sample: Sample) -> Sample:
    """Return a ``v2`` or ``v2-binary`` request as a ``ModelInferRequest`` with its tensors, parameters and outputs.

    Raises:
        SampleError: the body is no request, or has a parameter that a message has no form for.
    """
    body: Any = parse(sample.protocol, sample.body, sample.headers)
    document = body.document
    raw, _ = encode("grpc", decode(sample.protocol, sample.body, sample.headers), request_id=_text(document.get("id")))
    message = infer_request(raw)
    message.model_version = sample.endpoint.version or ""
    _put(message.parameters, document.get("parameters"))
    for output in document.get("outputs") or []:
        _put(message.outputs.add(name=str(output["name"])).parameters, output.get("parameters"))
    return sample.but(protocol="grpc", body=message.SerializeToString(deterministic=True), path=MODEL_INFER, headers={})


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _put(into: Any, parameters: Any) -> None:
    for name, value in (parameters if isinstance(parameters, dict) else {}).items():
        if name in _OF_REST:
            continue
        kind = _KINDS.get(type(value))
        if kind is None or (type(value) is int and abs(value) >> 63):
            raise SampleError(f"parameter {name!r} is {type(value).__name__}, which a gRPC message has no form for")
        setattr(into[name], kind, value)
