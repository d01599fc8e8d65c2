"""The JSON that perf_analyzer takes as ``--input-data``: entries of input values, which become v2 binary requests.

``{"data": [{"IN": {"content": […], "shape": […]}, "TEXT": ["…"], "RAW": {"b64": "…", "shape": […]}}, …]}``; a list
among the entries is a sequence. The format has neither types nor, for batching models, the batch dimension: types not
given in the options are taken from the values of the whole file (INT64, FP32, BOOL, BYTES): whole numbers in an input
that has others too are FP32. genai-perf's files have OpenAI bodies as ``payload``, AIPerf's ``inputs.json`` several as
``payloads``.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.json_body import json_bytes, unbase64
from kserve_warmup.protocols.nested import leaves_of, shape_of
from kserve_warmup.protocols.tensors import BYTES, Tensor, bytes_array, from_raw, reshape
from kserve_warmup.samples.sample import RAGGED, TensorSpec
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, load_json, noted
from kserve_warmup.sampling.formats.rows import made_of, typed

_FIRST_KEY = re.compile(rb'\s*\{\s*"(?:data|validation_data)"\s*:\s*\[')
_WORDS = {bool: "booleans", int: "numbers", float: "numbers", str: "text"}
_KINDS = {bool: "BOOL", int: "INT64", float: "FP32", str: BYTES}


def sniff(head: bytes) -> bool:
    """Return whether a file begins like perf_analyzer's input data."""
    return bool(_FIRST_KEY.match(head))


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield a request for each entry, or for each batch of consecutive entries of equal shapes."""
    content = load_json(part.file)
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list):
        raise SampleError('no list "data", as perf_analyzer\'s input data has')
    found = list(_flat(data))
    if any(isinstance(entry, dict) and _payload_key(entry) for entry in found):
        yield from _payloads(found, part.file)
        return
    kinds = _kinds(found, options)
    mixed = {name: TensorSpec(name, "FP32", ()) for name, (_, types) in kinds.items() if types == {int, float}}
    options = replace(options, inputs=mixed | dict(options.inputs))
    entries: list[list[Tensor]] = []
    for number, entry in enumerate(found, 1):
        try:
            _check_kinds(entry, kinds)
            entries.append(_entry(entry, options))
        except SampleError as error:  # noqa: PERF203  (one bad entry must not hide the others)
            yield BadRecord(part.file, str(error), number, "entry")
    requests = chain.from_iterable(_batches(entries, size) for size in options.batch_sizes)
    for number, tensors in enumerate(requests, 1):
        yield made_of(tensors, part.file, number, "request")


def _flat(data: list[Any]) -> Iterator[Any]:
    for item in data:
        if isinstance(item, list):
            yield from item
        else:
            yield item


def _payload_key(entry: dict[str, Any]) -> str | None:
    """Return the key below which an entry has whole bodies, None if it has tensors."""
    for key in ("payload", "payloads"):
        value = entry.get(key)
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            return key
    return None


def _payloads(entries: list[Any], file: str) -> Iterator[Record | BadRecord]:
    """Yield the bodies that entries have, in their order."""
    for number, entry in enumerate(entries, 1):
        key = _payload_key(entry) if isinstance(entry, dict) else None
        if key is None:
            yield BadRecord(file, "the entry has no payload, and others have", number, "entry")
            continue
        for body in entry[key] if isinstance(entry[key], list) else [entry[key]]:
            yield Record(file, number, json_bytes(body), unit="entry")


def _kinds(entries: list[Any], options: ReadOptions) -> dict[str, tuple[str, set[type]]]:
    """Return what most entries have in each input whose type is not declared, and the types of all that are so."""
    met: dict[str, Counter[str]] = defaultdict(Counter)
    types: dict[tuple[str, str], set[type]] = defaultdict(set)
    for entry in entries:
        for name, value in entry.items() if isinstance(entry, dict) else ():
            if name not in options.inputs and (kind := _kind(value)):
                met[name][kind] += 1
                types[name, kind] |= _types(value)
    most = {name: max(counts, key=lambda kind: (counts[kind], kind)) for name, counts in met.items()}
    return {name: (kind, types[name, kind]) for name, kind in most.items()}


def _check_kinds(entry: Any, kinds: Mapping[str, tuple[str, set[type]]]) -> None:
    """Refuse an entry that has something else in an input than most others have: one input is of one type."""
    for name, value in entry.items() if isinstance(entry, dict) else ():
        kind = _kind(value)
        if kind and name in kinds and kind != (others := kinds[name][0]):
            way = f"tell its type, such as --input '{name}:BYTES' or '{name}:FP32'"
            raise SampleError(f"input {name!r} has {kind} here and {others} in other entries: {way}")


def _kind(value: Any) -> str | None:
    """Return what the values of an input are, in words; None where they are raw, or mixed."""
    words = {_WORDS.get(kind) for kind in _types(value)}
    return words.pop() if len(words) == 1 else None


def _types(value: Any) -> set[type]:
    content = value.get("content") if isinstance(value, dict) else value
    return set(map(type, leaves_of(content)))


def _batches(entries: list[list[Tensor]], size: int) -> Iterator[list[Tensor]]:
    """Yield the inputs of requests of ``size`` entries, of one each without a batch dimension when it is 0."""
    alike: dict[tuple[tuple[str, str, tuple[int, ...]], ...], list[list[Tensor]]] = {}
    for entry in entries:
        alike.setdefault(tuple((t.name, t.datatype, t.data.shape) for t in entry), []).append(entry)
    for group in alike.values():
        if size == 0:
            yield from group
            continue
        rows = iter(group)
        while len(batch := list(islice(rows, size))) == size:
            columns = zip(*batch, strict=True)
            yield [Tensor(c[0].name, c[0].datatype, np.stack([t.data for t in c])) for c in columns]


def _entry(entry: Any, options: ReadOptions) -> list[Tensor]:
    if not isinstance(entry, dict) or not entry:
        msg = "an entry is an object of inputs"
        raise SampleError(msg)
    return [_tensor(name, value, options.inputs.get(name)) for name, value in entry.items()]


def _tensor(name: str, value: Any, spec: TensorSpec | None) -> Tensor:
    content, shape = value, list(spec.shape) if spec and spec.shape else None
    if isinstance(value, dict):
        content, shape = value.get("content", value), value.get("shape", shape)
    if shape is not None and (not isinstance(shape, list) or any(type(d) is not int or d < 0 for d in shape)):
        raise SampleError(f"input {name!r}: the shape is a list of sizes, not {shape!r}")
    if isinstance(content, dict):
        if spec is None or shape is None:
            raise SampleError(f"input {name!r} is raw: tell its type with --input '{name}:FP32[2,3]' (type and shape)")
        problem = f"input {name!r} has neither a list of values nor b64"
        return from_raw(name, spec.datatype, shape, unbase64(content.get("b64"), problem))
    content = content if isinstance(content, list) else [content]
    nested, types = shape_of(content)
    if RAGGED in nested:
        raise SampleError(f"input {name!r} has rows of uneven length")
    values = leaves_of(content)
    kinds = {_KINDS.get(kind) for kind in types}
    datatype = spec.datatype if spec else (kinds.pop() if len(kinds) == 1 else "FP32")
    if kinds - {"INT64", "FP32"} and not spec:
        raise SampleError(f"input {name!r} mixes types: give numbers, booleans or text, or its type with --input")
    array = bytes_array(values, (len(values),)) if datatype == BYTES else np.array(values)
    try:
        shaped = reshape(array, nested if shape is None else shape)
    except SampleError as error:
        raise SampleError(f"input {name!r}: {error}") from None
    return typed(name, shaped, datatype)
