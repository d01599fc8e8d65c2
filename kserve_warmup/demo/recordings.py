"""Clients of the demo's models: what they send, recorded while a real server answers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kserve_warmup.demo.demo_servers import Server
from kserve_warmup.demo.inputs import Array, digits, speech
from kserve_warmup.files import write_whole
from kserve_warmup.latency import Target, send
from kserve_warmup.protocols import bodies
from kserve_warmup.protocols.codec import over_grpc
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.sample import Protocol, Sample
from kserve_warmup.sampling.formats.jsonl import write_jsonl

MEASURED_BATCHES = (1, 1, 2, 1, 4, 1, 8, 1, 1, 1)
"""The rows in each request of a measurement: single ones, with some larger ones in between."""


@dataclass(frozen=True, slots=True)
class Model:
    """One of the demo's models and the traffic that it has.

    ``batches`` and ``protocols`` map a batch size and a protocol to the share of the requests that have it;
    ``warmup_seconds`` is the budget of its warm-up on KServe where the default is too short.
    """

    name: str
    description: str
    inputs: str
    requests: int
    batches: dict[int, float]
    protocols: dict[Protocol, float]
    warmup_seconds: int | None = None


MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "digits_mlp",
            "A neural network in JAX; XLA compiles it anew for every batch size.",
            "held-out handwritten digits of scikit-learn, 1 to 8 in a request",
            150,
            {1: 0.6, 2: 0.14, 3: 0.04, 4: 0.1, 5: 0.02, 6: 0.02, 7: 0.01, 8: 0.07},
            {"v2": 0.9, "grpc": 0.1},
        ),
        Model(
            "digits_knn",
            "A nearest-neighbour classifier in numba, which compiles at the first call and for every data type.",
            "held-out handwritten digits of scikit-learn, 1 to 8 in a request",
            150,
            {1: 0.7, 2: 0.1, 4: 0.1, 8: 0.1},
            {"v2": 0.8, "v1": 0.1, "v2-binary": 0.1},
        ),
        Model(
            "silero_vad",
            "silero-vad in ONNX Runtime: is somebody speaking?",
            "three seconds of human speech, 32 ms in a request, each with the state that the last answer gave",
            93,
            {1: 1.0},
            {"v2": 0.6, "v2-binary": 0.2, "grpc": 0.2},
        ),
        Model(
            "digits_forest",
            "A random forest: it compiles nothing, so warm-up barely helps. The control.",
            "held-out handwritten digits of scikit-learn, 1 to 8 in a request",
            80,
            {1: 0.8, 2: 0.1, 4: 0.05, 8: 0.05},
            {"v2": 1.0},
        ),
    )
}
"""The demo's models unless others are named."""

TORCH_MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        replace(
            MODELS["silero_vad"],
            name="silero_vad_jit",
            description="silero-vad in TorchScript, which torch's JIT optimises in the first two calls.",
        ),
        Model(
            "digits_cnn",
            "A convolutional network; torch.compile builds C++ for every batch size anew.",
            "held-out handwritten digits of scikit-learn, 1 to 8 in a request",
            80,
            {1: 0.7, 2: 0.1, 4: 0.1, 8: 0.1},
            {"v2": 1.0},
            warmup_seconds=120,
        ),
    )
}
"""Those that need the extra ``torch``, which is far too large to download for a demo by default."""

ALL_MODELS = MODELS | TORCH_MODELS


@dataclass(frozen=True, slots=True)
class Recording:
    """What was recorded on one model: a file of traffic, and later requests of the same clients to measure with."""

    traffic: Path
    requests: int
    measured: tuple[Sample, ...]


def record(model: Model, server: Server, path: Path) -> Recording:
    """Be the model's clients for a while, and write what they send to ``path`` as JSONL.

    Raises:
        WarmupFailedError: the server failed to answer a request.
    """

    def ask(sample: Sample) -> bytes:
        return send(sample, Target(server.grpc_url if over_grpc(sample) else server.http_url, model.name))

    clients = _listeners if model.name.startswith("silero_vad") else _readers
    recorded, measured = clients(model, ask)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = io.BytesIO()
    count = write_jsonl(lines, recorded)
    write_whole(path, lines.getvalue())
    return Recording(path, count, tuple(measured))


def request(protocol: Protocol, **inputs: Array) -> Sample:
    """Return a request with named inputs of FP32 or, for v1, of plain numbers."""
    tensors = [Tensor(name, "FP32", array) for name, array in inputs.items()]
    body, headers = bodies.encode(protocol, tensors)
    return bodies.request(protocol, body, headers=headers)


def digit_requests(protocol: Protocol, batches: Iterable[int], first_row: int = 0) -> list[Sample]:
    """Return requests with images of digits, one for each batch size, of rows that no model has learned."""
    images, _ = digits()
    rows = len(images)
    requests = []
    for batch in batches:
        requests.append(request(protocol, image=images[np.arange(first_row, first_row + batch) % rows]))
        first_row += batch
    return requests


def _readers(model: Model, ask: Callable[[Sample], bytes]) -> tuple[list[Sample], list[Sample]]:
    random = np.random.default_rng(0)
    sizes = random.choice(list(model.batches), model.requests, p=list(model.batches.values()))
    protocols = random.choice(list(model.protocols), model.requests, p=list(model.protocols.values()))
    recorded = []
    for index, (size, protocol) in enumerate(zip(sizes, protocols, strict=True)):
        recorded += digit_requests(str(protocol), (int(size),), index * 8)  # type: ignore[arg-type]
        ask(recorded[-1])
    return recorded, digit_requests("v2", MEASURED_BATCHES, first_row=180)


def _listeners(model: Model, ask: Callable[[Sample], bytes]) -> tuple[list[Sample], list[Sample]]:
    """Listen to the clip chunk by chunk; the first two thirds are recorded, the rest is what will be measured with."""
    random = np.random.default_rng(0)
    others = {
        protocol: share / model.protocols["v2"] for protocol, share in model.protocols.items() if protocol != "v2"
    }
    chunks, state = speech(), np.zeros((1, 2, 128), np.float32)
    recorded, measured = [], []
    for index, chunk in enumerate(chunks):
        inputs = {"audio": chunk[None], "state": state}
        heard = request("v2", **inputs)
        answer = ask(heard)
        if index >= len(chunks) * 2 // 3:
            measured.append(heard)
        else:
            recorded.append(heard)
            # other clients hear the same sound over other protocols
            again = [request(protocol, **inputs) for protocol, share in others.items() if random.random() < share]
            for sample in again:
                ask(sample)
            recorded += again
        state = _output(answer, "next_state")
    return recorded, measured


def _output(answer: bytes, name: str) -> Array:
    outputs = {output["name"]: output for output in json.loads(answer)["outputs"]}
    array: Array = np.array(outputs[name]["data"], np.float32).reshape(outputs[name]["shape"])
    return array
