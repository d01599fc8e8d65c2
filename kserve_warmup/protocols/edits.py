"""Where in a request body an input or a JSON path lies, and the body with what is there changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols import grpc_body as _grpc
from kserve_warmup.protocols import v2 as _v2
from kserve_warmup.protocols.json_body import json_object
from kserve_warmup.protocols.tensors import BYTES, Array, Tensor, from_raw, to_raw
from kserve_warmup.samples._pseudonyms import Changed, leaves
from kserve_warmup.samples.sample import Sample

_Place = tuple[Any, Any, str | None]
"""A list or an object, the index or key in it, and the datatype that the protocol gives to what is there."""


class UncoveredError(SampleError):
    """A request holds text that no rule covers, although ``strict`` is set."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One rule for one record: where, and how a JSON value (with its datatype, if it has one) and a tensor change."""

    input: str | None
    path: str | None
    drop: bool
    value: Callable[[Any, str | None], Any]
    array: Callable[[Tensor], Array]

    @property
    def where(self) -> str:
        """Return the rule's place, for messages."""
        return f"input {self.input!r}" if self.path is None else f"path {self.path}"


def edit(sample: Sample, edits: Sequence[Edit], applied: list[int], *, strict: bool) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request after ``edits``; the very same body when nothing was to change.

    Args:
        sample: the request.
        edits: what is done, in this order.
        applied: for each edit, the places where it was applied are added.
        strict: whether to refuse text that none covers.

    Raises:
        UncoveredError: there is such text.
        SampleError: an edit does not fit.
    """
    if sample.protocol == "grpc":
        return _edit_grpc(sample, edits, applied, strict=strict)
    if sample.protocol == "v2-binary":
        return _edit_binary(sample, edits, applied, strict=strict)
    document = json_object(sample.body, sample.protocol)
    changed = 0
    for number, item in enumerate(edits):
        places = _edit_document(document, item, sample.protocol)
        applied[number] += places
        changed += places
    if strict:
        _refuse_text(document, sample.protocol)
    return (_dumps(document) if changed else sample.body), sample.headers


def _edit_document(document: dict[str, Any], item: Edit, protocol: str) -> int:
    """Change ``document`` in place; return the number of places."""
    places = list(_found(document, item, protocol))
    if item.drop:  # of a list from behind: what follows moves
        places.sort(key=lambda place: -place[1] if isinstance(place[1], int) else 0)
    try:
        for parent, key, datatype in places:
            if item.drop:
                del parent[key]
            else:
                parent[key] = item.value(parent[key], datatype)
    except SampleError as error:
        raise SampleError(f"scrub rule for {item.where}: {error}") from None
    return len(places)


def _found(document: dict[str, Any], item: Edit, protocol: str) -> Iterator[_Place]:
    if item.path is not None:
        from kserve_warmup.samples import _scrub_paths  # which takes a tenth of a second that input names need not

        for parent, key, parts in _scrub_paths.found(item.path, document):
            yield parent, key, _datatype(document, parts, protocol)
    elif protocol == "v1":
        yield from _v1_input(document, item)
    elif protocol == "openai":
        if item.input in document:
            yield document, item.input, None
    else:
        yield from _v2_input(document.get("inputs"), item)


def _datatype(document: dict[str, Any], parts: Sequence[int | str], protocol: str) -> str | None:
    """Return the type of what a path has found in the data of a v2 input."""
    if protocol in ("v2", "v2-binary") and len(parts) > 2 and (parts[0], parts[2]) == ("inputs", "data"):  # noqa: PLR2004
        return str(document["inputs"][parts[1]].get("datatype"))
    return None


def _v2_input(inputs: Any, item: Edit) -> Iterator[_Place]:
    for number, tensor in enumerate(inputs if isinstance(inputs, list) else []):
        if isinstance(tensor, dict) and tensor.get("name") == item.input and (item.drop or "data" in tensor):
            yield (inputs, number, None) if item.drop else (tensor, "data", str(tensor.get("datatype")))


def _v1_input(document: dict[str, Any], item: Edit) -> Iterator[_Place]:
    name = item.input
    key = "instances" if "instances" in document else "inputs"
    payload = document.get(key)
    rows = payload if isinstance(payload, list) else [payload]
    keyed = [r for r in rows if isinstance(r, dict) and (r is payload or set(r) != {"b64"})]
    for row in keyed:
        if name in row:
            yield row, name, None
    if name == key and isinstance(payload, list) and len(keyed) < len(payload):
        if item.drop:
            raise SampleError(f"scrub rule for input {name!r}: dropping it leaves no request: use noise or replace")
        yield document, key, None


def _edit_binary(
    sample: Sample, edits: Sequence[Edit], applied: list[int], *, strict: bool
) -> tuple[bytes, dict[str, str]]:
    document, raw = _v2.split(sample.body, sample.headers)
    parts: dict[int, bytes] = {}  # by the identity of an input: a path may drop one
    original, position = list(document["inputs"]), 0
    for item in original:
        if (size := _v2.binary_size(item)) is not None:
            parts[id(item)] = bytes(raw[position : position + size])
            position += size
    changed, covered = 0, set()
    for number, rule in enumerate(edits):
        places = _edit_document(document, rule, sample.protocol)
        for tensor in document["inputs"]:
            if id(tensor) in parts and rule.path is None and tensor["name"] == rule.input:
                data = _changed_raw(rule, tensor["name"], tensor["datatype"], tensor["shape"], parts[id(tensor)])
                parts[id(tensor)], tensor["parameters"]["binary_data_size"] = data, len(data)
                places += 1
                covered.add(tensor["name"])
        applied[number] += places
        changed += places
    kept = [tensor for tensor in document["inputs"] if id(tensor) in parts]
    if strict:
        _refuse_text(document, "v2")
        _refuse_tensors([(t["name"], t["datatype"]) for t in kept], covered)
    if not changed:
        return sample.body, sample.headers
    head = _dumps(document)
    return b"".join([head, *(parts[id(t)] for t in kept)]), sample.headers | {_v2.LENGTH_HEADER: str(len(head))}


def _edit_grpc(
    sample: Sample, edits: Sequence[Edit], applied: list[int], *, strict: bool
) -> tuple[bytes, dict[str, str]]:
    message = _grpc.parse(sample.body)
    document = {
        "id": message.id,
        "parameters": _parameters(message),
        "inputs": [{"name": t.name, "parameters": _parameters(t)} for t in message.inputs],
    }
    changed, covered = 0, set()
    for number, item in enumerate(edits):
        if item.path is not None:
            places = _edit_document(document, item, "grpc")
            applied[number] += places
            changed += places
    if changed:
        _put_back(message, document)
    for number, item in enumerate(edits):
        if item.path is None and (index := _index(message, item.input)) is not None:
            _edit_tensor(message, index, item)
            covered.add(item.input)
            applied[number] += 1
            changed += 1
    if strict:
        _refuse_text({k: v for k, v in document.items() if v}, "grpc")  # an empty id is none
        _refuse_tensors([(t.name, t.datatype) for t in message.inputs], covered)
    return (message.SerializeToString(deterministic=True) if changed else sample.body), sample.headers


def _index(message: Any, name: str | None) -> int | None:
    return next((index for index, tensor in enumerate(message.inputs) if tensor.name == name), None)


def _edit_tensor(message: Any, index: int, item: Edit) -> None:
    tensor, raws = message.inputs[index], message.raw_input_contents
    if item.drop:
        del message.inputs[index]
        if raws:
            del raws[index]
    elif raws:
        raws[index] = _changed_raw(item, tensor.name, tensor.datatype, list(tensor.shape), raws[index])
    else:
        _grpc.set_typed(tensor, _changed_array(item, _grpc.typed(tensor)))


def _changed_raw(item: Edit, name: str, datatype: str, shape: list[int], raw: bytes) -> bytes:
    return to_raw(_changed_array(item, from_raw(name, datatype, shape, raw)))


def _changed_array(item: Edit, tensor: Tensor) -> Tensor:
    try:
        return Tensor(tensor.name, tensor.datatype, item.array(tensor))
    except SampleError as error:
        raise SampleError(f"scrub rule for {item.where}: {error}") from None


def _parameters(item: Any) -> dict[str, Any]:
    """Return what the parameters of a message or an input hold."""
    kinds = {name: value.WhichOneof("parameter_choice") for name, value in item.parameters.items()}
    return {name: getattr(item.parameters[name], kind) for name, kind in kinds.items() if kind}


def _put_back(message: Any, document: dict[str, Any]) -> None:
    """Put what :func:`_edit_grpc` took out to be edited back into the message."""
    message.id = document.get("id") or ""
    inputs = document.get("inputs") or []
    if [i.get("name") for i in inputs] != [i.name for i in message.inputs]:
        msg = "scrub rules: a path cannot drop an input of a gRPC message: drop it with {input: NAME, action: drop}"
        raise SampleError(msg)
    for item, edited in ((message, document), *zip(message.inputs, inputs, strict=True)):
        parameters = edited.get("parameters") or {}
        for name in list(item.parameters):
            kind = item.parameters[name].WhichOneof("parameter_choice")
            if name not in parameters:
                del item.parameters[name]
            elif kind:
                setattr(item.parameters[name], kind, parameters[name])


def _refuse_tensors(tensors: Sequence[tuple[str, str]], covered: set[str | None]) -> None:
    for name, datatype in tensors:
        if datatype == BYTES and name not in covered:
            raise UncoveredError(_uncovered(f"input {name!r}", f"{{input: {name}, action: noise}}"))


def _refuse_text(document: dict[str, Any], protocol: str) -> None:
    for parts, value in _texts(document, ()):
        if not isinstance(value, Changed) and not _structural(protocol, parts):
            path = "$" + "".join("[*]" if isinstance(part, int) else _step(part) for part in parts)
            raise UncoveredError(_uncovered(path, f'{{path: "{path}", action: noise}}'))


def _step(key: str) -> str:
    """Return how a path goes into a key; one that is no plain word is quoted, control characters escaped."""
    return f".{key}" if key.isidentifier() else f"[{key!r}]"


def _uncovered(where: str, rule: str) -> str:
    return f"scrub strict: {where} holds text that no rule covers: add a rule, such as {rule}"


def _texts(value: Any, parts: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield parts, value
    elif isinstance(value, (list, dict)) and any(isinstance(v, str) for v in leaves(value)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(item, (*parts, key))


def _structural(protocol: str, parts: tuple[Any, ...]) -> bool:
    """Return whether text at a place of a document is part of the protocol and nobody's input."""
    if protocol == "v1":
        return parts == ("signature_name",)
    if protocol == "openai":
        return parts == ("model",) or (parts[0] == "messages" and parts[-1] in ("role", "type"))
    if parts[-2:] == ("parameters", "content_type"):
        return True
    return len(parts) > 2 and parts[0] in ("inputs", "outputs") and parts[2:] in (("name",), ("datatype",))  # noqa: PLR2004


def _dumps(document: dict[str, Any]) -> bytes:
    """Return JSON as small as it gets; NaN passes as it did on the way in."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can only escape
        return json.dumps(document, separators=(",", ":")).encode()
