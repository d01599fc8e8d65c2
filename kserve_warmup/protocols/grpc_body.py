"""Open Inference Protocol v2 over gRPC: serialised ``ModelInferRequest`` messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import Body, declared_signature
from kserve_warmup.protocols.edits import Edit
from kserve_warmup.protocols.infer_message import model_infer_request
from kserve_warmup.protocols.protobuf_fields import infer_request
from kserve_warmup.protocols.tensors import (
    BYTES,
    MOST_DIMENSIONS,
    Tensor,
    check_datatype,
    from_raw,
    from_values,
    to_raw,
)
from kserve_warmup.protocols.variant import Variant, grpc_variant
from kserve_warmup.samples.sample import Signature

_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


class GrpcBody(Body):
    """A message with named inputs, whose data is raw, or typed contents."""

    protocol = "grpc"

    def __init__(self, message: Any, raw: bytes, recorded: Mapping[str, str]) -> None:
        """Take the body and the message that it is, checked for what every use needs.

        Raises:
            SampleError: it has no inputs, or an input has no name, an unknown type or a bad shape.
        """
        super().__init__(raw, recorded)
        self.message = message
        self._names = names = [item.name for item in message.inputs]
        if not names or not all(names) or len(set(names)) != len(names):
            msg = "a ModelInferRequest needs inputs, each with a name of its own"
            raise SampleError(msg)
        for item in message.inputs:
            check_datatype(item.datatype)
            if len(item.shape) > MOST_DIMENSIONS or any(size < 0 for size in item.shape):
                shape = str(list(item.shape))[:200]
                raise SampleError(f"input {item.name!r}: the shape is a list of sizes, not {shape}")
        if len(message.raw_input_contents) not in (0, len(names)):
            msg = f"there are {len(names)} inputs, but {len(message.raw_input_contents)} raw_input_contents"
            raise SampleError(msg)

    @classmethod
    def parse(cls, raw: bytes, headers: Mapping[str, str]) -> GrpcBody:
        return cls(infer_request(raw), raw, headers)

    @classmethod
    def encode(cls, tensors: Sequence[Tensor], request_id: str | None) -> tuple[bytes, dict[str, str]]:
        """Return a message with raw contents and an empty ``model_name``, which the transport fills in."""
        message = model_infer_request()(id=request_id or "")
        for tensor in tensors:
            message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.data.shape)
            message.raw_input_contents.append(to_raw(tensor))
        return bytes(message.SerializeToString(deterministic=True)), {}

    def variant(self) -> Variant:
        return grpc_variant(self.message)

    def signature(self) -> tuple[Signature, int]:
        return declared_signature((i.name, i.datatype, i.shape) for i in self.message.inputs)

    def tensors(self) -> tuple[Tensor, ...]:
        raws, inputs = self.message.raw_input_contents, self.message.inputs
        if not raws:
            return tuple(map(_typed, inputs))
        return tuple(from_raw(i.name, i.datatype, list(i.shape), raw) for i, raw in zip(inputs, raws, strict=True))

    @cached_property
    def document(self) -> dict[str, Any]:  # type: ignore[override]
        """Return what paths may look at; rules by name leave it alone: paths count the inputs that were sent."""
        inputs = [{"name": item.name, "parameters": _parameters(item)} for item in self.message.inputs]
        return {"id": self.message.id, "parameters": _parameters(self.message), "inputs": inputs}

    def change(self, rule: Edit) -> int:
        """Apply a rule to the id and the parameters, or to the data of an input."""
        document = self.document
        if places := super().change(rule):
            self._put_back(document)
        for index, item in enumerate(self.message.inputs):
            if rule.find is None and item.name == rule.input:
                self._change_input(index, item, rule)
                self.covered.add(item.name)
                return 1
        return places

    def loose(self) -> Iterator[tuple[str, str]]:
        return ((item.name, item.datatype) for item in self.message.inputs)

    def _put_back(self, document: dict[str, Any]) -> None:
        """Put what was taken out of the message, to be changed, back into it."""
        self.message.id = document.get("id") or ""
        inputs = document.get("inputs") or []
        if [i.get("name") for i in inputs] != self._names:
            msg = "scrub rules: a path cannot drop an input of a gRPC message: drop it with {input: NAME, action: drop}"
            raise SampleError(msg)
        edited = dict(zip(self._names, inputs, strict=True))
        for item, said in ((self.message, document), *((i, edited[i.name]) for i in self.message.inputs)):
            parameters = said.get("parameters") or {}
            for name in list(item.parameters):
                kind = item.parameters[name].WhichOneof("parameter_choice")
                if name not in parameters:
                    del item.parameters[name]
                elif kind:
                    setattr(item.parameters[name], kind, parameters[name])

    def written(self) -> tuple[bytes, dict[str, str]]:
        return self.message.SerializeToString(deterministic=True), self.headers

    def _change_input(self, index: int, item: Any, rule: Edit) -> None:
        raws = self.message.raw_input_contents
        if rule.drop:
            del self.message.inputs[index]
            if raws:
                del raws[index]
        elif raws:
            raws[index] = to_raw(rule.changed(from_raw(item.name, item.datatype, list(item.shape), raws[index])))
        else:
            values = getattr(item.contents, _CONTENTS[item.datatype])
            new = rule.changed(_typed(item))
            del values[:]
            values.extend(new.data.ravel().tolist())


def _typed(item: Any) -> Tensor:
    """Return the tensor of an input with typed contents."""
    field = _CONTENTS.get(item.datatype)
    if field is None:
        raise SampleError(f"input {item.name!r}: {item.datatype} is carried by raw_input_contents only")
    return from_values(item.name, item.datatype, list(getattr(item.contents, field)), list(item.shape))


def _parameters(item: Any) -> dict[str, Any]:
    """Return what the parameters of a message or an input hold."""
    kinds = {name: value.WhichOneof("parameter_choice") for name, value in item.parameters.items()}
    return {name: getattr(item.parameters[name], kind) for name, kind in kinds.items() if kind}
