"""KServe v1 bodies: ``{"instances": [...]}`` or ``{"inputs": ...}``, JSON without declared types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import JSON, declared_signature
from kserve_warmup.protocols.edits import Edit, Parts, Place
from kserve_warmup.protocols.json_body import JSONBody, base64_text, json_values, text, unbase64
from kserve_warmup.protocols.tensors import BYTES, MOST_DIMENSIONS, Tensor, from_values, to_dtype
from kserve_warmup.protocols.variant import Variant, v1_variant
from kserve_warmup.samples.sample import RAGGED, UNTYPED, Signature, TensorSpec

_NUMBERS = [((bool,), "BOOL"), ((int,), "INT64"), ((float,), "FP64"), ((int, float), "FP64"), ((), "FP64")]
_TEXTS = [((str,), BYTES), ((bytes,), BYTES), ((str, bytes), BYTES)]
KINDS: dict[frozenset[type], str] = {frozenset(types): datatype for types, datatype in (*_NUMBERS, *_TEXTS)}
"""The datatype of an input whose leaves have these types."""

_Facts = tuple[tuple[int, ...], frozenset[type]]
"""A shape, and the types of the leaves."""


class V1Body(JSONBody):
    """Instances, each a row, or named inputs."""

    protocol = "v1"

    @classmethod
    def claims(cls, document: dict[str, Any]) -> bool:
        return "instances" in document or "inputs" in document

    @classmethod
    def encode(cls, tensors: Sequence[Tensor], request_id: str | None) -> tuple[bytes, dict[str, str]]:  # noqa: ARG003
        """Return a body; BYTES that are not UTF-8 are written as ``{"b64": …}``, and there is no place for an id.

        JSON tells no widths: what was not INT64, FP64, BOOL or BYTES comes back as the wider of these.
        """
        return _encoded(tensors), {"content-type": JSON}

    def variant(self) -> Variant:
        return v1_variant(self.document)

    def signature(self) -> tuple[Signature, int]:
        """Return the signature and the number of instances; rows that no tensor can hold still get a signature.

        Such an input has ``-1`` for a dimension of uneven length, and the datatype ``JSON`` for mixed content.
        """
        key, payload = _payload(self.document)
        try:
            facts = _plain_shapes(key, payload) or {n: shape_of(value) for n, value in _columns(key, payload).items()}
        except SampleError:
            return Signature((TensorSpec(key, UNTYPED, ()),)), max(1, len(payload))
        return declared_signature((name, KINDS.get(kinds, UNTYPED), shape) for name, (shape, kinds) in facts.items())

    def tensors(self) -> tuple[Tensor, ...]:
        """Return a tensor an instance key, or one named after the list when instances are not objects.

        Integers are INT64, floats FP64, booleans BOOL; strings and ``{"b64": …}`` objects BYTES.
        """
        return tuple(_tensor(name, value) for name, value in _columns(*_payload(self.document)).items())

    def places(self, rule: Edit) -> Iterator[Place]:
        key = "instances" if "instances" in self.document else "inputs"
        payload = self.document.get(key)
        rows = payload if isinstance(payload, list) else [payload]
        keyed = [r for r in rows if isinstance(r, dict) and (r is payload or set(r) != {"b64"})]
        for row in keyed:
            if rule.input in row:
                yield row, rule.input, None
        if rule.input == key and isinstance(payload, list) and len(keyed) < len(payload):
            if rule.drop:
                raise rule.failed(SampleError("dropping it leaves no request: use noise or replace"))
            yield self.document, key, None

    def is_structural(self, parts: Parts) -> bool:
        return parts == ("signature_name",)


def _encoded(tensors: Sequence[Tensor]) -> bytes:
    if any(t.data.ndim == 0 for t in tensors):
        msg = "v1 has no scalars: give every input a leading batch dimension"
        raise SampleError(msg)
    if len(tensors) == 1 and tensors[0].name in ("instances", "inputs"):
        return orjson.dumps({tensors[0].name: json_values(tensors[0], _text_or_b64)})
    if len({len(t.data) for t in tensors}) != 1:
        msg = "v1 instances need the same number of rows in every input"
        raise SampleError(msg)
    columns = [json_values(t, _text_or_b64) for t in tensors]
    names = [t.name for t in tensors]
    return orjson.dumps({"instances": [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]})


def _payload(document: dict[str, Any]) -> tuple[str, Any]:
    key = "instances" if "instances" in document else "inputs"
    payload = document.get(key)
    if not isinstance(payload, (list, dict)) or (key == "instances" and isinstance(payload, dict)) or payload == {}:
        msg = 'a v1 body is {"instances": [...]} or {"inputs": ...}: this one has neither list'
        raise SampleError(msg)
    return key, payload


def _columns(key: str, payload: list[Any] | dict[str, Any]) -> dict[str, Any]:
    if isinstance(payload, dict):
        return {name: _unwrap(value) for name, value in payload.items()}
    rows = [_unwrap(row) for row in payload]
    if not rows or not all(isinstance(row, dict) for row in rows):
        return {key: rows}
    if any(row.keys() != rows[0].keys() for row in rows):
        msg = "v1 instances differ in their keys: no tensor can hold them"
        raise SampleError(msg)
    return {name: [row[name] for row in rows] for name in rows[0]}


def _unwrap(value: Any) -> Any:
    """Replace each ``{"b64": …}`` object by its bytes."""
    if isinstance(value, list):
        plain = not value or type(value[0]) not in (list, dict)  # a leaf row: nothing to look for, and rows are long
        return value if plain and dict not in set(map(type, value)) else [_unwrap(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {"b64"} or not isinstance(value["b64"], str):
        return {name: _unwrap(item) for name, item in value.items()}
    return unbase64(value["b64"], 'a {"b64": ...} value is not base64')


def _plain_shapes(key: str, payload: list[Any] | dict[str, Any]) -> dict[str, _Facts] | None:
    """Return what :func:`shape_of` tells of each input where all are plain lists; None where it takes a closer look."""
    columns: dict[str, Any] = {key: payload}
    if isinstance(payload, dict):
        columns = payload
    elif payload and set(map(type, payload)) == {dict}:
        names = payload[0].keys()
        if names == {"b64"} or any(row.keys() != names for row in payload):
            return None
        columns = {name: [row[name] for row in payload] for name in names}
    facts = {}
    for name, value in columns.items():
        found = _plain_shape(value) if isinstance(value, list) else None
        if found is None or (len(found[0]) > MOST_DIMENSIONS and value is not payload):
            return None
        facts[name] = found
    return facts


def _plain_shape(value: list[Any]) -> _Facts | None:
    """Return what :func:`shape_of` returns, level by level and ten times as fast; None for all but nested lists."""
    shape: list[int] = [len(value)]
    while (kinds := set(map(type, value))) == {list}:
        sizes = set(map(len, value))
        if 0 in sizes:
            return None
        shape.append(sizes.pop() if len(sizes) == 1 else RAGGED)
        value = list(chain.from_iterable(value))
    return None if kinds & {list, dict} else (tuple(shape), frozenset(kinds))


def shape_of(value: Any) -> _Facts:
    """Return the shape of nested lists, RAGGED where they are uneven, and the types of their leaves."""
    if not isinstance(value, list):
        return (), frozenset([type(value)])
    kinds = set(map(type, value))
    if list not in kinds:
        return (len(value),), frozenset(kinds)
    children = [shape_of(item) for item in value]
    depths = {len(shape) for shape, _ in children}
    leaves = frozenset().union(*(leaf for _, leaf in children))
    if len(depths) > 1:  # a number beside a list: not even the rank is one
        return (len(value),), leaves | {list}
    dims = zip(*(shape for shape, _ in children), strict=True)
    return (len(value), *(sizes[0] if len(set(sizes)) == 1 else RAGGED for sizes in dims)), leaves


def _tensor(name: str, value: Any) -> Tensor:
    shape, kinds = shape_of(value)
    datatype = KINDS.get(kinds)
    if datatype is None or RAGGED in shape:
        what = "rows of uneven length" if datatype else "values of mixed types"
        raise SampleError(f"input {name!r} has {what}: no tensor can hold them")
    if datatype == BYTES:
        values = [v if isinstance(v, bytes) else text(v, name) for v in leaves_of(value)]
        return from_values(name, datatype, values, shape)
    try:
        return Tensor(name, datatype, np.array(value, dtype=to_dtype(datatype)))
    except OverflowError:
        raise SampleError(f"input {name!r} has an integer beyond 64 bits") from None
    except ValueError as error:
        raise SampleError(f"input {name!r}: {error}") from None


def leaves_of(value: Any) -> list[Any]:
    """Return what nested lists hold, in row-major order."""
    if not isinstance(value, list):
        return [value]
    if list not in set(map(type, value)):
        return value
    return [leaf for item in value for leaf in leaves_of(item)]


def _text_or_b64(value: bytes, _: str) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64_text(value)}
