"""Open Inference Protocol v2 over REST: JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import JSON, declared_signature
from kserve_warmup.protocols.edits import Edit, Parts, Place
from kserve_warmup.protocols.json_body import JSONBody, json_values, text
from kserve_warmup.protocols.tensors import BYTES, MOST_DIMENSIONS, Tensor, check_datatype, from_values, to_dtype
from kserve_warmup.protocols.variant import Variant, v2_variant
from kserve_warmup.samples.sample import Protocol, Signature


class V2Body(JSONBody):
    """Named inputs with their types and shapes."""

    protocol: ClassVar[Protocol] = "v2"

    @classmethod
    def claims(cls, document: dict[str, Any]) -> bool:
        items = document.get("inputs")
        return isinstance(items, list) and bool(items) and all(isinstance(i, dict) and "datatype" in i for i in items)

    @classmethod
    def encode(cls, tensors: Sequence[Tensor], request_id: str | None) -> tuple[bytes, dict[str, str]]:
        """Return a body with flat data.

        Raises:
            SampleError: BF16, NaN, infinities and BYTES that are not UTF-8 have no form in v2 JSON.
        """
        for tensor in tensors:
            if tensor.datatype == "BF16":
                raise SampleError(f"input {tensor.name!r}: v2 JSON cannot carry BF16: use v2-binary or grpc")
        flat = (Tensor(t.name, t.datatype, t.data.ravel()) for t in tensors)
        items = [head(t) | {"data": json_values(f, _text)} for t, f in zip(tensors, flat, strict=True)]
        return written(items, request_id), {"content-type": JSON}

    def __init__(self, document: dict[str, Any], raw: bytes, recorded: Mapping[str, str]) -> None:
        """Take the body, and what it says; ``inputs`` are checked for name, shape and datatype."""
        super().__init__(document, raw, recorded)
        found = document.get("inputs")
        if not isinstance(found, list) or not found:
            msg = 'a v2 body has a non-empty list "inputs": this one has none'
            raise SampleError(msg)
        names = set()
        for item in found:
            name, shape = (item.get("name"), item.get("shape")) if isinstance(item, dict) else (None, None)
            if not isinstance(name, str) or not name or name in names:
                raise SampleError(f"each v2 input needs a name of its own, not {name!r}")
            names.add(name)
            if (
                not isinstance(shape, list)
                or len(shape) > MOST_DIMENSIONS
                or any(type(d) is not int or d < 0 for d in shape)
            ):
                raise SampleError(f"input {name!r}: the shape is a list of sizes, not {str(shape)[:200]}")
            check_datatype(item.get("datatype"))
        self.inputs: list[dict[str, Any]] = list(found)  # a rule may take some out of the document

    def variant(self) -> Variant:
        return v2_variant(self.document)

    def signature(self) -> tuple[Signature, int]:
        if any(not isinstance(i.get("data"), list) for i in self.inputs):
            msg = "a v2 JSON body has a list of data in every input"
            raise SampleError(msg)
        return self.declared()

    def declared(self) -> tuple[Signature, int]:
        """Return the signature and the batch size, wherever the data is."""
        return declared_signature((i["name"], i["datatype"], i["shape"]) for i in self.inputs)

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(from_json(item) for item in self.inputs)

    def places(self, rule: Edit) -> Iterator[Place]:
        inputs = self.document.get("inputs")
        for number, tensor in enumerate(inputs if isinstance(inputs, list) else []):
            if isinstance(tensor, dict) and tensor.get("name") == rule.input and (rule.drop or "data" in tensor):
                yield (inputs, number, None) if rule.drop else (tensor, "data", str(tensor.get("datatype")))

    def datatype_at(self, parts: Parts) -> str | None:
        if len(parts) > 2 and (parts[0], parts[2]) == ("inputs", "data"):  # noqa: PLR2004
            return str(self.document["inputs"][parts[1]].get("datatype"))
        return None


def head(tensor: Tensor) -> dict[str, Any]:
    """Return what JSON says of a tensor beside its data."""
    return {"name": tensor.name, "shape": list(tensor.data.shape), "datatype": tensor.datatype}


def written(items: list[dict[str, Any]], request_id: str | None) -> bytes:
    """Return a request with these inputs."""
    return orjson.dumps(({"id": request_id} if request_id is not None else {}) | {"inputs": items})


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise SampleError(f"input {name!r} has bytes that are not UTF-8, which v2 JSON cannot carry") from None


_LEAVES: dict[str, frozenset[type]] = {
    "b": frozenset([bool]),
    "i": frozenset([int]),
    "u": frozenset([int]),
    "f": frozenset([int, float]),
    "O": frozenset([str]),
}


def from_json(item: dict[str, Any]) -> Tensor:
    """Return the tensor of an input whose data is in the JSON."""
    name, datatype, shape, data = item["name"], item["datatype"], item["shape"], item.get("data")
    if datatype == "BF16":
        raise SampleError(f"input {name!r}: v2 JSON cannot carry BF16")
    if not isinstance(data, list):
        raise SampleError(f"input {name!r} has no list of data")
    values = _flat(data)
    if not set(map(type, values)) <= _LEAVES[to_dtype(datatype).kind]:
        raise SampleError(f"input {name!r}: the data is not all {datatype}")
    return from_values(name, datatype, [text(v, name) for v in values] if datatype == BYTES else values, shape)


def _flat(data: list[Any]) -> list[Any]:
    """Return the leaves of nested lists in row-major order; flat data, the usual case, as it is."""
    for _ in range(MOST_DIMENSIONS):
        if list not in set(map(type, data)):
            return data
        data = [leaf for item in data for leaf in (item if isinstance(item, list) else [item])]
    raise SampleError(f"the data is nested deeper than {MOST_DIMENSIONS} lists")
