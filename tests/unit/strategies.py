"""Hypothesis strategies for tensors and requests."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from kserve_warmup.protocols.bodies import request
from kserve_warmup.protocols.tensors import Tensor, bytes_array, from_raw, to_dtype
from kserve_warmup.samples import Sample
from kserve_warmup.samples.sample import DATATYPES

# Machines that run tests are busy: how long an example takes says nothing about the code.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name not in ("instances", "inputs"))
SHAPES = st.lists(st.integers(0, 4), max_size=4)


@st.composite
def tensors(draw, datatypes=tuple(DATATYPES), shapes=SHAPES, names=NAMES, *, finite=False, text=False):
    """A tensor of any type with any bit pattern: NaN payloads, infinities, denormals; BYTES of any content."""
    name, datatype, shape = draw(names), draw(st.sampled_from(datatypes)), draw(shapes)
    count = math.prod(shape)
    if datatype == "BYTES":
        element = st.text(max_size=8).map(str.encode) if text else st.binary(max_size=8)
        return Tensor(name, datatype, bytes_array(draw(st.lists(element, min_size=count, max_size=count)), shape))
    size = count * to_dtype(datatype).itemsize
    tensor = from_raw(name, datatype, shape, draw(st.binary(min_size=size, max_size=size)))
    if finite and datatype in ("FP16", "FP32", "FP64", "BF16"):
        return Tensor(name, datatype, np.where(np.isfinite(tensor.data), tensor.data, tensor.data.dtype.type(1.5)))
    return tensor


def requests_of(**options):
    """The inputs of one request: names differ."""
    return st.lists(tensors(**options), min_size=1, max_size=3, unique_by=lambda t: t.name)


@st.composite
def traffic(draw, max_size=30):
    """Recorded requests of few signatures, batch sizes and contents, so that strata and repeats occur."""
    kinds = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 5))
    return [v1_sample(*kind) for kind in draw(st.lists(kinds, min_size=1, max_size=max_size))]


def v1_sample(width: int, batch: int, value: int) -> Sample:
    """A v1 request of ``batch`` rows of ``width`` numbers."""
    return request("v1", json.dumps({"instances": [[value] * width] * batch}).encode())
