"""Where in a request body an input or a JSON path lies, and the body with what is there changed."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.samples import _grpc, _v2
from kserve_warmup.samples._json import json_object
from kserve_warmup.samples._pseudonyms import Changed, leaves
from kserve_warmup.samples.datatypes import BYTES, Array, Tensor, from_raw, to_raw
from kserve_warmup.samples.sample import Sample

_Place = tuple[Any, Any]
"""A list or an object, and the index or key in it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One rule for one record: where, and how a JSON value and an array there are changed."""

    input: str | None
    path: str | None
    drop: bool
    value: Callable[[Any], Any]
    array: Callable[[Array], Array]

    @property
    def where(self) -> str:
        """Return the rule's place, for messages."""
        return f"input {self.input!r}" if self.path is None else f"path {self.path}"


@functools.cache
def compiled(path: str) -> Any:
    """Return a JSON path, ready to search with.

    Raises:
        ValueError: it is none.
    """
    import jsonpath

    try:
        return jsonpath.compile(path)
    except jsonpath.JSONPathError as error:
        raise ValueError(f"{path!r} is no JSON path: {str(error).splitlines()[0]}") from None


def edit(sample: Sample, edits: Sequence[Edit], *, strict: bool) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request after ``edits``; the very same body when nothing was to change.

    Raises:
        SampleError: an edit does not fit, or ``strict`` is set and there is text that none covers.
    """
    if sample.protocol == "grpc":
        return _edit_grpc(sample, edits, strict=strict)
    if sample.protocol == "v2-binary":
        return _edit_binary(sample, edits, strict=strict)
    document = json_object(sample.body, sample.protocol)
    changed = _edit_document(document, edits, sample.protocol)
    if strict:
        _refuse_text(document, sample.protocol)
    return (_dumps(document) if changed else sample.body), sample.headers


def _edit_document(document: dict[str, Any], edits: Sequence[Edit], protocol: str) -> bool:
    """Change ``document`` in place; return whether anything was found to change."""
    changed = False
    for item in edits:
        places = list(_found(document, item, protocol))
        for parent, key in reversed(places):  # from behind: a drop moves what follows it in a list
            changed = True
            if item.drop:
                del parent[key]
                continue
            try:
                parent[key] = item.value(parent[key])
            except SampleError as error:
                raise SampleError(f"scrub rule for {item.where}: {error}") from None
    return changed


def _found(document: dict[str, Any], item: Edit, protocol: str) -> Iterator[_Place]:
    if item.path is not None:
        for match in compiled(item.path).finditer(document):
            if match.parent is not None:  # the root itself cannot be replaced
                yield match.parent.obj, match.parts[-1]
    elif protocol == "v1":
        yield from _v1_input(document, item)
    elif protocol == "openai":
        if item.input in document:
            yield document, item.input
    else:
        yield from _v2_input(document.get("inputs"), item)


def _v2_input(inputs: Any, item: Edit) -> Iterator[_Place]:
    for number, tensor in enumerate(inputs if isinstance(inputs, list) else []):
        if tensor["name"] == item.input and (item.drop or "data" in tensor):
            yield (inputs, number) if item.drop else (tensor, "data")


def _v1_input(document: dict[str, Any], item: Edit) -> Iterator[_Place]:
    name = item.input
    key = "instances" if "instances" in document else "inputs"
    payload = document[key]
    keyed = (
        [payload] if isinstance(payload, dict) else [r for r in payload if isinstance(r, dict) and set(r) != {"b64"}]
    )
    for row in keyed:
        if name in row:
            yield row, name
    if name == key and isinstance(payload, list) and len(keyed) < len(payload):
        if item.drop:
            raise SampleError(f"scrub rule for input {name!r}: dropping it leaves no request: use noise or replace")
        yield document, key


def _edit_binary(sample: Sample, edits: Sequence[Edit], *, strict: bool) -> tuple[bytes, dict[str, str]]:
    document, raw = _v2.split(sample.body, sample.headers)
    parts: dict[int, bytes] = {}  # by the identity of an input: a path may drop one
    original, position = list(document["inputs"]), 0
    for item in original:
        if (size := _v2.binary_size(item)) is not None:
            parts[id(item)] = bytes(raw[position : position + size])
            position += size
    changed, covered = False, set()
    for rule in edits:
        changed |= _edit_document(document, [rule], sample.protocol)
        for tensor in document["inputs"]:
            if id(tensor) in parts and rule.path is None and tensor["name"] == rule.input:
                data = _changed_raw(rule, tensor["name"], tensor["datatype"], tensor["shape"], parts[id(tensor)])
                parts[id(tensor)], tensor["parameters"]["binary_data_size"] = data, len(data)
                changed = True
                covered.add(tensor["name"])
    kept = [tensor for tensor in document["inputs"] if id(tensor) in parts]
    if strict:
        _refuse_text(document, "v2")
        _refuse_tensors([(t["name"], t["datatype"]) for t in kept], covered)
    if not changed:
        return sample.body, sample.headers
    head = _dumps(document)
    return b"".join([head, *(parts[id(t)] for t in kept)]), sample.headers | {_v2.LENGTH_HEADER: str(len(head))}


def _edit_grpc(sample: Sample, edits: Sequence[Edit], *, strict: bool) -> tuple[bytes, dict[str, str]]:
    message = _grpc.parse(sample.body)
    document = {
        "id": message.id,
        "parameters": _parameters(message),
        "inputs": [{"name": t.name, "parameters": _parameters(t)} for t in message.inputs],
    }
    changed, covered = _edit_document(document, [e for e in edits if e.path is not None], "grpc"), set()
    if changed:
        _put_back(message, document)
    for item in (e for e in edits if e.path is None):
        for number, tensor in reversed(list(enumerate(message.inputs))):
            if tensor.name != item.input:
                continue
            changed = True
            covered.add(tensor.name)
            if item.drop:
                del message.inputs[number]
                if message.raw_input_contents:
                    del message.raw_input_contents[number]
            elif message.raw_input_contents:
                data = _changed_raw(
                    item, tensor.name, tensor.datatype, list(tensor.shape), message.raw_input_contents[number]
                )
                message.raw_input_contents[number] = data
            else:
                _grpc.set_typed(tensor, _changed_array(item, _grpc.typed(tensor)))
    if strict:
        _refuse_text({k: v for k, v in document.items() if v}, "grpc")  # an empty id is none
        _refuse_tensors([(t.name, t.datatype) for t in message.inputs], covered)
    return (message.SerializeToString(deterministic=True) if changed else sample.body), sample.headers


def _changed_raw(item: Edit, name: str, datatype: str, shape: list[int], raw: bytes) -> bytes:
    return to_raw(_changed_array(item, from_raw(name, datatype, shape, raw)))


def _changed_array(item: Edit, tensor: Tensor) -> Tensor:
    try:
        return Tensor(tensor.name, tensor.datatype, item.array(tensor.data))
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


def _refuse_tensors(tensors: Sequence[tuple[str, str]], covered: set[str]) -> None:
    for name, datatype in tensors:
        if datatype == BYTES and name not in covered:
            raise SampleError(_uncovered(f"input {name!r}", f"{{input: {name}, action: noise}}"))


def _refuse_text(document: dict[str, Any], protocol: str) -> None:
    for parts, value in _texts(document, ()):
        if not isinstance(value, Changed) and not _structural(protocol, parts):
            path = "$" + "".join("[*]" if isinstance(part, int) else f".{part}" for part in parts)
            raise SampleError(_uncovered(path, f'{{path: "{path}", action: noise}}'))


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
