"""Traffic for the benchmarks of ``sample``: records of KServe's logger, made from scikit-learn's own data.

Handwritten digits, crops of its two photographs and sentences of its data sets' descriptions, as v1, v2 JSON, v2
binary, gRPC and OpenAI bodies of mixed batches and shapes. A pool of bodies is drawn from again and again; half of the
v2 and gRPC bodies carry a request id, which is new in every record, so that no two of these are equal.
"""

from __future__ import annotations

import json
import random
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pybase64
from sklearn.datasets import load_diabetes, load_digits, load_sample_images, load_wine

from kserve_warmup.samples.datatypes import Tensor, bytes_array
from kserve_warmup.samples.sample import Protocol
from kserve_warmup.samples.wire import encode

ID = "0" * 32
BATCHES = (1, 1, 1, 1, 2, 4, 8, 16)
SIDES = (32, 48, 64, 96, 128)
FILE = 256 * 10**6
BLOB = 8 * 10**6


@dataclass(frozen=True)
class Body:
    """A body of the pool and the headers that the logger keeps of it."""

    content: bytes
    headers: dict[str, list[str]]

    def renewed(self, source: random.Random) -> bytes:
        """Return the body with a new request id, if it has one."""
        return self.content.replace(ID.encode(), uuid.UUID(int=source.getrandbits(128)).hex.encode(), 1)


def pool(source: random.Random, size: int = 600) -> list[Body]:
    """Return bodies of all kinds: a third each of digits, image crops and sentences."""
    digits = (load_digits().data / 16).astype(np.float32)
    photographs = [(image / 255).astype(np.float32).round(4) for image in load_sample_images().images]
    texts = " ".join(load().DESCR for load in (load_digits, load_diabetes, load_wine))
    sentences = [" ".join(s.split()) for s in re.split(r"(?<=[.:])\s", texts) if len(s.split()) > 3]
    makers = (
        lambda: _digits(source, digits),
        lambda: _crop(source, photographs),
        lambda: _sentence(source, sentences),
    )
    return [makers[number % 3]() for number in range(size)]


def _digits(source: random.Random, digits: np.ndarray) -> Body:
    rows = digits[[source.randrange(len(digits)) for _ in range(source.choice(BATCHES))]]
    protocol = source.choice(("v1", "v2", "v2", "v2-binary", "grpc"))
    return _body(source, protocol, [Tensor("instances" if protocol == "v1" else "image", "FP32", rows)])


def _crop(source: random.Random, photographs: list[np.ndarray]) -> Body:
    photograph, side = source.choice(photographs), source.choice(SIDES)
    top, left = source.randrange(photograph.shape[0] - side), source.randrange(photograph.shape[1] - side)
    crop = photograph[None, top : top + side, left : left + side]
    return _body(source, source.choice(("v2", "v2", "v2-binary", "grpc")), [Tensor("image", "FP32", crop)])


def _sentence(source: random.Random, sentences: list[str]) -> Body:
    chosen = [source.choice(sentences) for _ in range(source.choice((1, 1, 2, 4)))]
    kind = source.choice(("v2", "chat", "embedding"))
    if kind == "v2":
        return _body(source, "v2", [Tensor("text", "BYTES", bytes_array([s.encode() for s in chosen], [len(chosen)]))])
    if kind == "chat":
        document = {"model": "m", "messages": [{"role": "user", "content": " ".join(chosen)}]}
    else:
        document = {"model": "m", "input": chosen}
    return Body(json.dumps(document).encode(), {})


def _body(source: random.Random, protocol: Protocol, tensors: list[Tensor]) -> Body:
    request_id = ID if source.random() < 0.5 else None
    body, headers = encode(protocol, tensors, request_id=request_id)
    kept = {name: [value] for name, value in headers.items() if name != "content-type"}
    return Body(body, kept if source.random() < 0.5 else {})


def records(source: random.Random, bodies: list[Body]) -> Iterator[bytes]:
    """Yield the logger's records without end."""
    while True:
        body = source.choice(bodies)
        head = {"url": "http://logger", "id": str(uuid.UUID(int=source.getrandbits(128))), "reqType": "request"}
        record = head | {
            "contentType": "application/json",
            "bytes": "",
            "sourceUri": "http://localhost:9081/",
            "inferenceService": "model",
            "namespace": "default",
            "component": "predictor",
            "metadata": body.headers,
        }
        text = json.dumps(record).encode().replace(b'"bytes": ""', b'"bytes": "%s"')
        yield text % pybase64.b64encode(body.renewed(source))


def write(folder: Path, size: int, form: str, seed: int = 0) -> list[Path]:
    """Write ``size`` bytes of traffic: ``lines`` (files of JSON lines) or ``arrays`` (blobs of a batch each)."""
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(seed)
    stream = records(source, pool(source))
    files, left = [], size
    while left > 0:
        file = folder / f"{len(files):05d}-request.json"
        with file.open("wb") as out:
            written = _fill(out, stream, min(left, FILE if form == "lines" else BLOB), form)
        files.append(file)
        left -= written
    return files


def _fill(out: IO[bytes], stream: Iterator[bytes], size: int, form: str) -> int:
    begin, between, end = (b"", b"\n", b"\n") if form == "lines" else (b"[", b",", b"]")
    written = out.write(begin + next(stream))
    while written < size:
        written += out.write(between + next(stream))
    return written + out.write(end)
