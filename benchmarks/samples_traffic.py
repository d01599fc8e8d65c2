"""Traffic for the benchmarks of ``sample``: records of KServe's logger, made from scikit-learn's own data.

Handwritten digits, crops of its two photographs and sentences of its data sets' descriptions, as v1, v2 JSON, v2
binary, gRPC and OpenAI bodies of mixed batches and shapes. A pool of bodies is drawn from again and again; half of the
v2 and gRPC bodies carry a request id, which is new in every record, so that no two of these are equal.
"""

from __future__ import annotations

import json
import random
import re
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pybase64
from sklearn.datasets import load_diabetes, load_digits, load_sample_images, load_wine

from kserve_warmup.protocols.bodies import encode
from kserve_warmup.protocols.tensors import Tensor, bytes_array
from kserve_warmup.samples.sample import Protocol

ID = "0" * 32
PROTOCOLS: dict[Protocol, int] = {"v1": 3, "v2": 4, "v2-binary": 2, "grpc": 1}
"""Mostly JSON, as people send it; the numbers are parts of ten."""

BATCHES = (1, 1, 1, 1, 2, 4, 8, 16)
SIDES = (32, 48, 64, 96, 128)

MANY_BATCHES = (*range(1, 17), 20, 24, 28, 32, 40, 48, 56, 64)
MANY_SIDES = range(8, 68, 2)
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


def pool(source: random.Random, size: int = 600, *, small: bool = False) -> list[Body]:
    """Return bodies of all kinds: a third each of digits, image crops and sentences; no image crops in ``small``."""
    digits = (load_digits().data / 16).astype(np.float32)
    photographs, sentences = _photographs(), _sentences()
    makers = [lambda: _digits(source, digits), lambda: _sentence(source, sentences)]
    if not small:
        makers.append(lambda: _crop(source, photographs))
    return [makers[number % len(makers)]() for number in range(size)]


def _digits(source: random.Random, digits: np.ndarray) -> Body:
    rows = digits[[source.randrange(len(digits)) for _ in range(source.choice(BATCHES))]]
    return _image(source, rows)


def _crop(source: random.Random, photographs: list[np.ndarray]) -> Body:
    return _image(source, _cut(source, photographs, source.choice(SIDES)))


def _cut(source: random.Random, photographs: list[np.ndarray], side: int) -> np.ndarray:
    photograph = source.choice(photographs)
    top, left = source.randrange(photograph.shape[0] - side), source.randrange(photograph.shape[1] - side)
    return photograph[None, top : top + side, left : left + side]


def _photographs() -> list[np.ndarray]:
    return [(image / 255).astype(np.float32).round(4) for image in load_sample_images().images]


def _sentences() -> list[str]:
    texts = " ".join(load().DESCR for load in (load_digits, load_diabetes, load_wine))
    return [" ".join(s.split()) for s in re.split(r"(?<=[.:])\s", texts) if len(s.split()) > 3]


def many(source: random.Random, size: int = 2000) -> list[Body]:
    """Return bodies of some 300 strata: v1 and v2 JSON of digits, image crops, and numbers with text; 1 to 64 rows."""
    digits = (load_digits().data / 16).astype(np.float32)
    photographs = _photographs()
    sentences = _sentences()
    makers = (
        lambda: _batch_of_digits(source, digits),
        lambda: _small_crop(source, photographs),
        lambda: _mixed(source, digits, sentences),
    )
    return [makers[number % len(makers)]() for number in range(size)]


def _batch_of_digits(source: random.Random, digits: np.ndarray) -> Body:
    rows = digits[[source.randrange(len(digits)) for _ in range(source.choice(MANY_BATCHES))]]
    protocol = source.choice(("v1", "v2"))
    return _body(source, protocol, [Tensor("instances" if protocol == "v1" else "image", "FP32", rows)])


def _small_crop(source: random.Random, photographs: list[np.ndarray]) -> Body:
    protocol = source.choice(("v1", "v2"))
    crop = _cut(source, photographs, source.choice(MANY_SIDES))
    return _body(source, protocol, [Tensor("instances" if protocol == "v1" else "image", "FP32", crop)])


def _mixed(source: random.Random, digits: np.ndarray, sentences: list[str]) -> Body:
    """Return a request with numbers, integers and a text in each row; in v1 each row is an object."""
    rows = source.choice(MANY_BATCHES)
    texts = bytes_array([source.choice(sentences).encode() for _ in range(rows)], [rows])
    width = source.choice((8, 16, 32, 64))
    numbers = digits[[source.randrange(len(digits)) for _ in range(rows)], :width]
    ages = np.array([source.randrange(18, 99) for _ in range(rows)], np.int64)
    tensors = [Tensor("numbers", "FP32", numbers), Tensor("age", "INT64", ages), Tensor("text", "BYTES", texts)]
    return _body(source, source.choice(("v1", "v2", "v2")), tensors)


def _image(source: random.Random, rows: np.ndarray) -> Body:
    (protocol,) = source.choices(list(PROTOCOLS), list(PROTOCOLS.values()))
    return _body(source, protocol, [Tensor("instances" if protocol == "v1" else "image", "FP32", rows)])


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


def records(source: random.Random, bodies: list[Body]) -> Iterator[dict[str, Any]]:
    """Yield the logger's records without end."""
    while True:
        body = source.choice(bodies)
        yield {
            "url": "http://logger",
            "id": str(uuid.UUID(int=source.getrandbits(128))),
            "reqType": "request",
            "contentType": "application/json",
            "bytes": pybase64.b64encode(body.renewed(source)).decode(),
            "sourceUri": "http://localhost:9081/",
            "inferenceService": "model",
            "namespace": "default",
            "component": "predictor",
            "metadata": body.headers,
        }


def as_json(record: dict[str, Any]) -> bytes:
    """Return a record as the logger writes it; its long string is not escaped character by character."""
    text = json.dumps(record | {"bytes": ""}).encode()
    body: bytes = record["bytes"].encode()
    return text.replace(b'"bytes": ""', b'"bytes": "%s"') % body


def write(folder: Path, size: int, form: str, seed: int = 0) -> list[Path]:
    """Write ``size`` bytes of traffic.

    Args:
        folder: where to write.
        size: bytes in all.
        form: ``lines``: files of JSON lines; ``small``: the same without images; ``many``: the same of some 300
            strata; ``arrays``: blobs of a batch each; ``parquet``: tables.
        seed: another one gives other traffic.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = random.Random(seed)
    stream = records(source, many(source) if form == "many" else pool(source, small=form == "small"))
    files: list[Path] = []
    left = size
    while left > 0:
        file = folder / f"{len(files):05d}-request.{'parquet' if form == 'parquet' else 'json'}"
        room = min(left, BLOB if form == "arrays" else FILE)
        written = _table(file, stream, room) if form == "parquet" else _text(file, stream, room, form)
        files.append(file)
        left -= written
    return files


def _text(file: Path, stream: Iterator[dict[str, Any]], size: int, form: str) -> int:
    begin, between, end = (b"[", b",", b"]") if form == "arrays" else (b"", b"\n", b"\n")
    with file.open("wb") as out:
        written = out.write(begin + as_json(next(stream)))
        while written < size:
            written += out.write(between + as_json(next(stream)))
        return written + out.write(end)


def _table(file: Path, stream: Iterator[dict[str, Any]], size: int) -> int:
    """Write a table with the logger's columns, in row groups of some 16 MB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = ("url", "id", "reqType", "contentType", "bytes", "sourceUri", "inferenceService", "namespace")
    schema = pa.schema([(name, pa.string()) for name in (*columns, "component", "metadata")])
    written = 0
    with pq.ParquetWriter(file, schema, compression="snappy") as out:
        while written < size:
            rows, group = [], 0
            while group < 2 * BLOB:
                rows.append(next(stream))
                group += len(rows[-1]["bytes"])
                rows[-1]["metadata"] = json.dumps(rows[-1]["metadata"])
            out.write_table(pa.Table.from_pylist(rows, schema))
            written += group
    return written


if __name__ == "__main__":  # in a process of its own, so that its memory is not counted as a reader's
    write(Path(sys.argv[1]), int(float(sys.argv[2])), sys.argv[3])
