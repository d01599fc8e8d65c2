"""Whatever a file holds, reading it ends, names what is bad, and raises nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import parquet

from kserve_warmup.samples.sample import TensorSpec
from kserve_warmup.sampling.digest import FORMATS, source
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record
from kserve_warmup.sampling.formats.storage import UNREADABLE

DATA = Path(__file__).parents[1] / "data" / "traffic"
EVENT = {"specversion": "1.0", "type": "a.request", "id": "1", "source": "/", "data": {"instances": [[1]]}}
V2 = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
CAPTURED = {"captureData": {"endpointInput": {"data": "1,2", "encoding": "CSV", "observedContentType": "text/csv"}}}
LOGGED = {"bytes": "eyJpbnN0YW5jZXMiOlsxXX0=", "contentType": "application/json", "reqType": "request", "metadata": ""}


def archive() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.arange(3), text=np.array(["a", "b", "c"]))
    return stream.getvalue()


def table() -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([LOGGED] * 3), stream)
    return stream.getvalue()


WHOLE = {
    "npz": archive(),
    "parquet": table(),
    "tf-serving": (DATA / "tf_serving_warmup_requests").read_bytes(),
    "kserve-logger": json.dumps([LOGGED, LOGGED]).encode(),
    "cloudevents": b"ce-specversion: 1.0\r\nce-type: a.request\r\ncontent-length: 17\r\n\r\n" + b'{"instances":[1]}',
    "event-display": (
        b"\xe2\x98\x81\xef\xb8\x8f  cloudevents.Event\nValidation: valid\nContext Attributes,\n  specversion: 1.0\n"
        b'  type: a.request\n  id: 1\n  datacontenttype: application/json\nData,\n  {\n    "instances": [1]\n  }\n'
    ),
    "aiperf": json.dumps({"session_id": "1", "turns": [{"text": "a"}, {"text": "b"}]}).encode(),
    "sagemaker": json.dumps(CAPTURED).encode() + b"\n" + json.dumps(CAPTURED).encode(),
    "perf-analyzer": json.dumps({"data": [{"x": {"content": [1, 2], "shape": [2]}}, {"x": [1.5, 2]}]}).encode(),
    "perf-analyzer-raw": b"\0" * 8,
    "triton-trace": (DATA / "triton_trace.json").read_bytes(),
    "v2-log": json.dumps({"request": {"payload": V2, "ce-time": "2026-05-01T08:00:00Z"}}).encode(),
    "jsonl": json.dumps({"body": '{"instances":[1]}', "headers": {}}).encode() + b"\n" + json.dumps(EVENT).encode(),
    "csv": b"a,b\n1,2.5\n3,x\n",
    "body": json.dumps(V2).encode(),
}
OPTIONS = ReadOptions(batch_sizes=(1, 2), inputs={"x": TensorSpec("x", "FP32", (2,))})
COMPRESSORS = (bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A file whose name is the one of the declared input."""
    return tmp_path_factory.mktemp("traffic") / "x"


def check(form: str, file: Path, content: bytes) -> list[Record | BadRecord]:
    file.write_bytes(content)
    reader = source(form)
    assert reader.sniff(content[:65536]) in (True, False)
    try:
        parts = list(getattr(reader, "split", lambda file, _: [Part.whole(file)])(str(file), 64))
    except UNREADABLE:  # the plan makes a bad record of it
        return []
    found = [record for part in parts for record in reader.read(part, OPTIONS)]
    for record in found:
        assert isinstance(record, Record | BadRecord)
        if isinstance(record, BadRecord):
            assert "\n" not in record.reason, record.reason
    return found


def test_every_format_has_a_whole_file_here():
    assert set(WHOLE) == set(FORMATS)


@pytest.mark.parametrize("form", FORMATS)
def test_a_whole_file_gives_requests(file, form):
    assert any(isinstance(record, Record) for record in check(form, file, WHOLE[form]))


@pytest.mark.parametrize("form", FORMATS)
@given(content=st.binary(max_size=200), pack=st.sampled_from(COMPRESSORS))
@example(content=b">>\rk\x06", pack=bytes)
def test_random_bytes_raise_nothing(file, form, content, pack):
    check(form, file, pack(content))


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data(), pack=st.sampled_from(COMPRESSORS))
def test_damaged_files_raise_nothing(file, form, data, pack):
    content = bytearray(pack(WHOLE[form]))
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=5)):
        content[position] = data.draw(st.integers(0, 255))
    check(form, file, bytes(content[: data.draw(st.integers(0, len(content)))]))


KEYS = (
    *(
        "captureData",
        "endpointInput",
        "data",
        "encoding",
        "observedContentType",
        "eventMetadata",
        "specversion",
        "type",
    ),
    *("time", "metadata", "request", "payload", "inputs", "_source", "bytes", "reqType", "body", "headers", "status"),
    *("x", "content", "shape", "b64", "data_base64"),
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("form", ["sagemaker", "cloudevents", "v2-log", "kserve-logger", "perf-analyzer", "jsonl"])
@given(
    value=JSON, records=st.lists(st.sampled_from([EVENT, V2, CAPTURED, LOGGED]), max_size=2), key=st.sampled_from(KEYS)
)
def test_json_of_any_form_raises_nothing(file, form, value, records, key):
    made = [record | {key: value} for record in records]
    made += [{outer: inner | {key: value} for outer, inner in r.items() if isinstance(inner, dict)} for r in records]
    check(form, file, json.dumps(value).encode())
    check(form, file, "\n".join(map(json.dumps, made)).encode())
