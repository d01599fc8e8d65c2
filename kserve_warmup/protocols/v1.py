"""KServe v1 bodies: ``{"instances": [...]}`` or ``{"inputs": ...}``, JSON without declared types.

KServe takes any other JSON on the same endpoint: such a body is of the model's own form (see ``own_json``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import JSON, Body, declared_signature
from kserve_warmup.protocols.edits import Edit, Parts, Place, refuse_text
from kserve_warmup.protocols.json_body import (
    JSONBody,
    NotJSONError,
    base64_text,
    json_container,
    json_values,
    text,
    unbase64,
)
from kserve_warmup.protocols.nested import leaves_of, plain_shape, shape_of
from kserve_warmup.protocols.own_json import own_signature
from kserve_warmup.protocols.raw_body import RawBody, is_json, media_type
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
    """Instances, each a row, or named inputs; or JSON of the model's own form, an object or an array."""

    protocol = "v1"
    document: Any  # an object or an array

    @classmethod
    def parse(cls, raw: bytes, headers: Mapping[str, str]) -> Body:  # type: ignore[override]  # its endpoint takes more
        try:
            return cls(json_container(raw, cls.protocol), raw, headers)
        except NotJSONError:
            kind = media_type(headers)
            if is_json(kind) or (not kind and raw.lstrip()[:1] in (b"{", b"[", b"")):
                raise  # damaged, rather than something else
            return RawBody.parse(raw, headers)

    @property
    def path(self) -> str:
        """Return where such a body is usually sent: one for Triton's generate has a prompt of its own name."""
        generates = isinstance(self.document, dict) and isinstance(self.document.get("text_input"), str)
        return "/v2/models/{model}/generate" if generates and self.is_own else super().path

    @property
    def is_own(self) -> bool:
        """Return whether the body is of the model's own form, and holds no tensors."""
        return _payload(self.document) is None

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
        found = _payload(self.document)
        if found is None:
            return own_signature(self.document)
        key, payload = found
        try:
            facts = _plain_shapes(key, payload) or {n: shape_of(value) for n, value in _columns(key, payload).items()}
        except SampleError:
            return Signature((TensorSpec(key, UNTYPED, ()),)), max(1, len(payload))
        return declared_signature((name, KINDS.get(kinds, UNTYPED), shape) for name, (shape, kinds) in facts.items())

    def tensors(self) -> tuple[Tensor, ...]:
        """Return a tensor an instance key, or one named after the list when instances are not objects.

        Integers are INT64, floats FP64, booleans BOOL; strings and ``{"b64": …}`` objects BYTES.
        """
        found = _payload(self.document)
        if found is None:
            msg = "a v1 body of the model's own form holds no tensors: there are neither instances nor inputs in it"
            raise SampleError(msg)
        return tuple(_tensor(name, value) for name, value in _columns(*found).items())

    def places(self, rule: Edit) -> Iterator[Place]:
        if self.is_own:
            rows = self.document if isinstance(self.document, list) else [self.document]
            yield from ((row, rule.input, None) for row in rows if isinstance(row, dict) and rule.input in row)
            return
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

    def refuse_uncovered(self) -> None:
        refuse_text(self.document, self.is_structural)


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


def _payload(document: Any) -> tuple[str, Any] | None:
    """Return what holds the data, and its key; None for a body of the model's own form."""
    if not isinstance(document, dict):
        return None
    key = "instances" if "instances" in document else "inputs"
    payload = document.get(key)
    if not isinstance(payload, (list, dict)) or (key == "instances" and isinstance(payload, dict)) or payload == {}:
        return None
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
        found = plain_shape(value) if isinstance(value, list) else None
        if found is None or (len(found[0]) > MOST_DIMENSIONS and value is not payload):
            return None
        facts[name] = found
    return facts


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


def _text_or_b64(value: bytes, _: str) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64_text(value)}
