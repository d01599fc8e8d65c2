"""Requests made up from what a model declares: the fallback when no real ones were recorded."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from kserve_warmup.protocols.bodies import Tensor, encode, request
from kserve_warmup.protocols.codec import CODECS
from kserve_warmup.samples.sample import Sample

_PROTOCOLS = [codec.protocol for codec in CODECS.values() if codec.is_typed]


def synthesise(model: Any) -> tuple[Sample, ...]:
    """Make one request a protocol from ``model.get_input_types()``; nothing if it declares none.

    Free dimensions become 1. Numbers are zeros, which any vocabulary and any one-hot index accepts; texts are empty.
    """
    declare = getattr(model, "get_input_types", None)  # an OpenAI model has none
    if declare is None or inspect.iscoroutinefunction(declare):
        return ()
    tensors = [_tensor(declared) for declared in declare() or ()]
    if not tensors:
        return ()
    weight = 1 / len(_PROTOCOLS)
    return tuple(
        request(protocol, body, headers=headers, weight=weight)
        for protocol in _PROTOCOLS
        for body, headers in (encode(protocol, tensors),)
    )


def _tensor(declared: dict[str, Any]) -> Tensor:
    from kserve_warmup.protocols.tensors import to_dtype

    shape = tuple(max(1, int(size)) for size in declared["shape"])
    datatype = declared["datatype"]
    if datatype == "BYTES":
        return Tensor(declared["name"], datatype, np.full(shape, b"", dtype=object))
    return Tensor(declared["name"], datatype, np.zeros(shape, dtype=to_dtype(datatype)))
