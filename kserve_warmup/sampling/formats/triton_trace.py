"""Traces of Triton at level TENSORS: what shapes requests have.

Of the values a trace keeps six digits of FP32 and FP64 and nothing of FP16 and BF16, and it does not escape text, so
that a file with text is no JSON (tritonserver 2.51). It is therefore read entry by entry, as Triton writes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import BYTES, Tensor, elements, from_values, reshape, to_dtype
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, converted, noted
from kserve_warmup.sampling.formats.rows import made_of
from kserve_warmup.sampling.formats.storage import opened, whole

NOTE = (
    "Triton's traces tell shapes, not values: numbers have six digits, FP16 is zero and text may be cut; "
    "record requests where values matter"
)

_ENTRY = re.compile(rb'\{"id":(\d{1,18}),')
_MODEL = re.compile(rb'"model_name":"([^"]*)"')
_PARENT = re.compile(rb'"parent_id":(\d{1,18})')
_INPUT, _DATA, _SHAPE = b'"activity":"TENSOR_QUEUE_INPUT","tensor":{"name":"', b'","data":"', b'","shape":"'
_END = re.compile(rb'(?P<shape>[-\d,]{0,2000})","dtype":"(?P<type>\w{1,20})"\}')
_KIND = re.compile(rb'\s*\[\s*\{"id":\d+,"(?:timestamps|model_name|activity)":')
_BETWEEN_TEXTS = b'\\",\\"'


class _Entry(NamedTuple):
    """An input as its entry tells it."""

    name: bytes
    data: bytes
    shape: bytes
    datatype: bytes


@dataclass
class _Traced:
    model: str | None = None
    parent: int | None = None
    inputs: list[_Entry] = field(default_factory=list)


def sniff(head: bytes) -> bool:
    """Return whether a file begins like a trace."""
    return bool(_KIND.match(head))


@noted
def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield a request for each that was traced with its tensors.

    In a trace of several models only those to ``options.model`` are meant: from outside, or made by an ensemble that
    has it as a member.
    """
    with opened(part.file) as stream:
        traced = _traced(whole(stream))
    models = {t.model for t in traced.values()} - {None}
    if len(models) > 1:
        asked = {n: t for n, t in traced.items() if t.inputs and t.model == options.model and not _recurs(t, traced)}
    else:
        asked = {n: t for n, t in traced.items() if t.inputs and t.parent is None}
    if not asked:
        known = sorted({str(t.model) for t in traced.values() if t.inputs and t.model})
        names = f" of {options.model}, only of {', '.join(known)}" if known and options.model not in known else ""
        raise SampleError(f"there are no input tensors{names}: trace with level=TENSORS")

    def made(one: _Traced, *at: Any) -> Record:
        return made_of([_tensor(entry, options) for entry in one.inputs], *at)

    yield from converted(((number, "trace", one) for number, one in asked.items()), made, part.file)


def _recurs(one: _Traced, traced: dict[int, _Traced]) -> bool:
    """Return whether a request to a model was made by a request to the same one, which stands for both."""
    parent = traced.get(one.parent) if one.parent is not None else None
    return parent is not None and parent.model == one.model


def _traced(text: bytes) -> dict[int, _Traced]:
    """Return what each request's entries tell; they need not stand together."""
    found: dict[int, _Traced] = {}
    starts = list(_ENTRY.finditer(text))
    stops = [*(match.start() for match in starts[1:]), len(text)]
    for start, stop in zip(starts, stops, strict=False):  # without a start there still is a stop
        traced = found.setdefault(int(start[1]), _Traced())
        if entry := _input(text, start.end(), stop):
            traced.inputs.append(entry)
        elif match := _MODEL.search(text, start.end(), stop):
            traced.model = match[1].decode(errors="replace")
            parent = _PARENT.search(text, start.end(), stop)
            traced.parent = int(parent[1]) if parent else None
    return found


def _input(text: bytes, start: int, stop: int) -> _Entry | None:
    """Return the input that an entry tells; data may hold what looks like an end, so the last end counts."""
    head = text.find(_INPUT, start, stop)
    data = text.find(_DATA, head + len(_INPUT), stop) if head >= 0 else -1
    shape = text.rfind(_SHAPE, data, stop) if data >= 0 else -1
    end = _END.match(text, shape + len(_SHAPE), stop) if shape >= 0 else None
    if end is None:
        return None
    return _Entry(text[head + len(_INPUT) : data], text[data + len(_DATA) : shape], end["shape"], end["type"])


def _tensor(entry: _Entry, options: ReadOptions) -> Tensor:
    name, datatype = entry.name.decode(errors="replace"), entry.datatype.decode(errors="replace")
    dtype = to_dtype(datatype)
    try:
        shape = [int(size) for size in entry.shape.split(b",") if size]
    except ValueError:
        raise SampleError(f"input {name!r}: its shape holds what is no size") from None
    count, data = elements(name, shape), entry.data
    options.check_claim(name, count * (4 if datatype == BYTES else dtype.itemsize))
    if datatype == BYTES:
        values = data.removeprefix(b'\\"').removesuffix(b'\\"').split(_BETWEEN_TEXTS)
        return from_values(name, BYTES, values if len(values) == count else [b""] * count, shape)
    try:
        numbers = [float(value) if dtype.kind == "f" else int(value) for value in data.split(b",") if value]
        array = np.array(numbers if len(numbers) == count else [0] * count).astype(dtype)
        return Tensor(name, datatype, reshape(array, shape))
    except (OverflowError, ValueError, SampleError) as error:
        raise SampleError(f"input {name!r}: {error}") from None
