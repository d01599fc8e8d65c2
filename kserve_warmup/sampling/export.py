"""A sample set as input data for perf_analyzer, so that a load test sends what users send."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode
from kserve_warmup.protocols.codec import codec_of
from kserve_warmup.protocols.json_body import base64_text
from kserve_warmup.protocols.tensors import BYTES, Tensor, to_raw
from kserve_warmup.samples.sample import ANY_NAME, Sample
from kserve_warmup.samples.store import SampleSet


@dataclass(frozen=True, slots=True)
class PerfAnalyzerData:
    """The document for ``--input-data``, and how many samples it leaves out: perf_analyzer takes one set of inputs."""

    document: dict[str, Any]
    left_out: int


def perf_analyzer_data(samples: SampleSet) -> PerfAnalyzerData:
    """Return an entry for each row of each request, the heaviest first; perf_analyzer makes batches of them (``-b``).

    Inputs whose type the request declares are raw bytes, exact to the last bit. v1 declares none: its values are
    written as they are, and perf_analyzer gives them the type that the model asks for.

    Raises:
        SampleError: no sample holds tensors, or a v1 sample holds bytes that are no text.
    """
    shares: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for sample in samples:
        if _has_tensors(sample):
            shares[_names(sample)] += sample.weight
    if not shares:
        raise SampleError(f"the sample set of {samples.model} has no tensors that perf_analyzer could send")
    chosen = max(shares, key=lambda names: shares[names])
    fitting = [s for s in samples if _has_tensors(s) and _names(s) == chosen]
    data = [entry for sample in fitting for entry in _entries(sample)]
    return PerfAnalyzerData({"data": data}, len(samples) - len(fitting))


def _has_tensors(sample: Sample) -> bool:
    """Return whether a request has tensors, with names that others have too."""
    return codec_of(sample.protocol).has_tensors and ANY_NAME not in _names(sample)


def _names(sample: Sample) -> tuple[str, ...]:
    return tuple(spec.name for spec in sample.signature.inputs)


def _entries(sample: Sample) -> Iterator[dict[str, Any]]:
    tensors = decode(sample.protocol, sample.body, sample.headers)
    rows = range(sample.batch) if sample.signature.batched else (None,)
    for row in rows:
        yield {t.name: _value(t, row, typed=codec_of(sample.protocol).is_typed) for t in tensors}


def _value(tensor: Tensor, row: int | None, *, typed: bool) -> dict[str, Any]:
    data = tensor.data if row is None else tensor.data[row]
    shape = [int(size) for size in data.shape]
    if typed:
        raw = to_raw(Tensor(tensor.name, tensor.datatype, data))
        return {"content": {"b64": base64_text(raw)}, "shape": shape}
    values = [_text(tensor.name, v) for v in data.flat] if tensor.datatype == BYTES else data.ravel().tolist()
    return {"content": values, "shape": shape}


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise SampleError(f"input {name!r} holds bytes that are no text: sample its v2 or gRPC traffic") from None
