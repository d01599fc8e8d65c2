"""What a file claims is checked before memory is taken for it, and no file keeps a reader busy beyond its length."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import time
import tracemalloc
import zipfile
from contextlib import contextmanager

import numpy as np
import pytest
import zstandard
from google_crc32c import value as crc32c
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

from kserve_warmup.cli.sample import _bytes
from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode
from kserve_warmup.protocols.generated.prediction_log_pb2 import PredictionLog
from kserve_warmup.sampling.digest import Digest, Job, records, source
from kserve_warmup.sampling.formats import lines, storage
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record
from kserve_warmup.sampling.place import list_shape, without_numbers
from kserve_warmup.sampling.reader import sample_traffic

MIB = 1 << 20
HUGE = 10**15
SMALL = ReadOptions(max_body=MIB)
GOOD = b'{"instances": [[1, 2]]}'


@contextmanager
def little_memory(most: int = 64 * MIB):
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def read(form: str, file, content: bytes, options: ReadOptions = SMALL) -> list[Record | BadRecord]:
    file.write_bytes(content)
    with little_memory():
        return list(records(form, Part.whole(file), options))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "traffic"


def npz(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(shape, content: bytes = b"", descr: str = "<f8") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def tfrecord(data: bytes, claimed: int | None = None) -> bytes:
    head = struct.pack("<Q", len(data) if claimed is None else claimed)
    return head + struct.pack("<I", masked(head)) + data + struct.pack("<I", masked(data))


def prediction(dtype: int, field: str, value: object, shape: list[int]) -> bytes:
    log = PredictionLog()
    tensor = log.predict_log.request.inputs["x"]
    tensor.dtype = dtype
    getattr(tensor, field).append(value)
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tfrecord(log.SerializeToString())


def trace(shape: str, datatype: str = "FP32", data: str = "") -> bytes:
    tensor = f'"tensor":{{"name":"x","data":"{data}","shape":"{shape}","dtype":"{datatype}"}}'
    return f'[{{"id":1,"model_name":"m"}},{{"id":1,"activity":"TENSOR_QUEUE_INPUT",{tensor}}}]'.encode()


EVENT = b"ce-specversion: 1.0\r\nce-type: a.request\r\n"
CLAIMS = {
    "npz that claims a petabyte": ("npz", lambda: npz(x=npy((HUGE,))), "claims"),
    "npz that claims more than 64 bits": ("npz", lambda: npz(x=npy((2**40, 2**40))), "beyond what an array"),
    "npz of text that claims a petabyte": ("npz", lambda: npz(x=npy((2**20,), descr=f"<U{2**28}")), "claims"),
    "npz that is a bomb": ("npz", lambda: npz(x=npy((2 * MIB,), bytes(16 * MIB))), "together, more than"),
    "TFRecord that claims two gigabytes": ("tf-serving", lambda: tfrecord(b"xy", 2**31), "2,147,483,648 bytes"),
    "TFRecord that claims a little too much": ("tf-serving", lambda: tfrecord(b"xy", 2 * MIB), "cut off"),
    "tensor that claims a petabyte": ("tf-serving", lambda: prediction(1, "float_val", 1.0, [HUGE]), "claims"),
    "tensor of text that claims a petabyte": (
        "tf-serving",
        lambda: prediction(7, "string_val", b"x" * 1000, [2**12]),
        "claims",
    ),
    "tensor beyond 64 bits": ("tf-serving", lambda: prediction(1, "float_val", 1.0, [2**40] * 3), "beyond what"),
    "trace that claims a petabyte": ("triton-trace", lambda: trace(str(HUGE)), "claims"),
    "trace of text that claims a petabyte": ("triton-trace", lambda: trace(str(HUGE), "BYTES"), "claims"),
    "trace of a negative shape": ("triton-trace", lambda: trace("-1"), "beyond what"),
    "trace of a shape without end": ("triton-trace", lambda: trace(",".join(["2"] * 900)), "dimensions"),
    "trace of a size of ten thousand digits": ("triton-trace", lambda: trace("9" * 10_000), "no input tensors"),
    "trace of an id of ten thousand digits": (
        "triton-trace",
        lambda: trace("1").replace(b'"id":1', b'"id":' + b"9" * 10_000),
        "no input tensors",
    ),
    "trace of data that looks like its head": (
        "triton-trace",
        lambda: trace("1", data='","data":"' * 300_000).replace(b'"shape":"1"', b""),
        "no input tensors",
    ),
    "event that claims a petabyte": (
        "cloudevents",
        lambda: EVENT + f"content-length: {HUGE}\r\n\r\nx".encode(),
        "claims a body",
    ),
    "event that claims ten thousand digits": (
        "cloudevents",
        lambda: EVENT + b"content-length: " + b"9" * 10_000 + b"\r\n\r\nx",
        None,
    ),
    "event of a negative length": ("cloudevents", lambda: EVENT + b"content-length: -1\r\n\r\nx", None),
    "event with headers without end": ("cloudevents", lambda: EVENT + b"x: y\r\n" * 100_000, "headers"),
    "event of a long body": ("cloudevents", lambda: EVENT + b"\r\n" + b"x" * 2 * MIB, "longer than"),
    "body that is too long": ("body", lambda: b"x" * 2 * MIB, "longer than 1,048,576 bytes"),
    "body that is a bomb": ("body", lambda: gzip.compress(bytes(100 * MIB)), "longer than 1,048,576 bytes"),
    "body that is a zstd bomb": (
        "body",
        lambda: zstandard.ZstdCompressor().compress(bytes(100 * MIB)),
        "longer than 1,048,576 bytes",
    ),
    "table with one long line": ("csv", lambda: b"a,b\n1," + b"x" * 5 * MIB + b"\n", "longer than"),
    "line without end": ("jsonl", lambda: b'{"instances": [' + b"1," * 3 * MIB, "longer than"),
    "line without end, in gzip": (
        "kserve-logger",
        lambda: gzip.compress(b'{"bytes": "' + b"A" * 100 * MIB + b'"}\n'),
        "longer than",
    ),
}


@pytest.mark.parametrize("what", CLAIMS)
def test_a_claim_is_a_bad_record_before_memory_is_taken_for_it(file, what, monkeypatch):
    form, content, reason = CLAIMS[what]
    monkeypatch.setattr(source("npz"), "MOST_WHOLE", 8 * MIB)
    found = read(form, file, content())
    bad = [record for record in found if isinstance(record, BadRecord)]
    assert len(found) == 1
    if reason is not None:
        assert reason in bad[0].reason
        assert len(bad[0].reason) < 300


@pytest.mark.parametrize("form", ["perf-analyzer", "v2-log", "triton-trace", "sagemaker"])
def test_a_bomb_in_a_format_that_is_read_whole_is_a_bad_record(file, form, monkeypatch):
    monkeypatch.setattr(storage, "MOST_WHOLE", 8 * MIB)
    monkeypatch.setattr(storage.whole, "__defaults__", (8 * MIB,))
    (bad,) = read(form, file, gzip.compress(b"[" + b" " * 100 * MIB))
    assert "longer than 8,388,608 bytes" in bad.reason


SHAPES = [[HUGE], [2**40, 2**40], [-1], [0] * 65, [2**40, 2**40, 0, -1]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("datatype", ["FP32", "BYTES", "BOOL"])
def test_a_request_whose_shape_claims_what_is_not_there_is_refused(shape, datatype):
    item = {"name": "x", "shape": shape, "datatype": datatype}
    plain = json.dumps({"inputs": [{**item, "data": []}]}).encode()
    binary = json.dumps({"inputs": [{**item, "parameters": {"binary_data_size": 8}}]}).encode() + bytes(8)
    message = ModelInferRequest(inputs=[{"name": "x", "shape": shape, "datatype": datatype}])
    typed = message.SerializeToString()
    message.raw_input_contents.append(bytes(8))
    bodies = [("v2", plain), ("v2-binary", binary), ("grpc", typed), ("grpc", message.SerializeToString())]
    for protocol, body in bodies:
        with little_memory(), pytest.raises(SampleError) as failure:
            list(decode(protocol, body, {}))
        assert len(str(failure.value)) < 500


@pytest.mark.parametrize("size", [HUGE, -1, 2**70, "8", 8.0, True, [8]])
def test_binary_data_of_a_size_that_is_not_there_is_refused(size):
    item = {"name": "x", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    with pytest.raises(SampleError):
        list(decode("v2-binary", json.dumps({"inputs": [item]}).encode() + bytes(8), {}))


def test_a_header_length_of_ten_thousand_digits_is_refused():
    with pytest.raises(SampleError):
        list(decode("v2-binary", b'{"inputs": []}', {"inference-header-content-length": "9" * 10_000}))


def test_requests_beyond_max_body_are_left_out_and_named_and_the_run_goes_on(file):
    large = b'{"instances": [[%s]]}' % b",".join([b"1"] * 1000)
    file.write_bytes(b"\n".join([GOOD] * 200 + [large]))
    samples, tally = sample_traffic([file], "m", job=Job(options=ReadOptions(max_body=1000)))
    assert [s.body for s in samples] == [GOOD]
    assert (tally.requests, tally.bad) == (200, 1)
    assert tally.examples[0].where == f"{file}:201"
    assert "more than --max-body 1000" in tally.examples[0].reason


def test_a_line_beyond_max_body_is_passed_over_without_being_held(file):
    file.write_bytes(gzip.compress(GOOD + b"\n" + b"x" * 200 * MIB + b"\n" + GOOD))
    first, bad, last = read("jsonl", file, file.read_bytes())
    assert (first.body, last.body, last.number) == (GOOD, GOOD, 3)
    assert bad.where == f"{file}:2"


@pytest.mark.parametrize(
    ("text", "size"), [("256MB", 1 << 28), ("16 mb", 16 * MIB), ("1GiB", 1 << 30), ("1000", 1000), ("3kb", 3072)]
)
def test_a_size_is_written_as_people_write_it(text, size):
    assert _bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "0", "-1", "1.5GB", "many", "1TB", "9" * 5000])
def test_what_is_no_size_is_told(text):
    with pytest.raises(SampleError, match="--max-body"):
        _bytes(text)


class Once(io.BytesIO):
    """A stream whose bytes are searched once: it gives chunks that count how often they are looked at."""

    def read(self, size=-1):
        return Counted(super().read(size))


class Counted(bytes):
    searched = 0

    def find(self, what, begin=0, *rest):
        Counted.searched += len(self) - begin
        return super().find(what, begin, *rest)


def test_each_byte_of_a_long_line_is_searched_once():
    Counted.searched = 0
    text = b"x" * 32 * MIB
    assert [len(line) for line, *_ in lines._lines(Once(text), len(text))] == [len(text)]
    assert Counted.searched == len(text)


def test_lines_are_the_same_wherever_chunks_end(monkeypatch):
    for chunk in range(1, 9):
        monkeypatch.setattr(lines, "_CHUNK", chunk)
        for text in (b"", b"\n", b"a", b"a\n", b"ab\n\ncdefghijk\nl", b"\n\nabcdefgh\n"):
            found = list(lines._lines(io.BytesIO(text), 100))
            whole = [*text.split(b"\n")]
            expected = [(line, True, len(line)) for line in whole[:-1]]
            expected += [(whole[-1], False, len(whole[-1]))] if whole[-1] else []
            assert found == expected


def steps(work, small: int, large: int) -> float:
    """Return how many times as long the work takes on ``large`` as on ``small``, the best of three each."""
    best = []
    for size in (small, large):
        taken = []
        for _ in range(3):
            begin = time.process_time()
            work(size)
            taken.append(time.process_time() - begin)
        best.append(min(taken))
    return best[1] / best[0]


@pytest.mark.parametrize(
    "work",
    [
        lambda n: without_numbers(b'{"a":[' + b'"data":[1],' * n),
        lambda n: list_shape(b"[" * n + b"1" + b"]" * n),
    ],
)
def test_ten_times_the_body_is_not_a_hundred_times_the_work(work):
    assert steps(work, 20_000, 200_000) < 40


def test_a_body_that_is_nested_without_end_is_refused_and_not_flattened_level_by_level():
    nested: object = 1
    for _ in range(900):
        nested = [nested]
    body = {"inputs": [{"name": "x", "shape": [1001], "datatype": "FP32", "data": [*([1] * 1000), nested]}]}
    with pytest.raises(SampleError, match="nested deeper than 64"):
        list(decode("v2", json.dumps(body).encode(), {}))


def test_a_long_line_in_zstd_comes_through(file):
    noise = random.Random(0).randbytes(12 * MIB).hex().encode()
    packed = zstandard.ZstdCompressor().compress(b'{"body": "%s"}\n' % noise)
    file.write_bytes(packed)
    (record,) = records("jsonl", Part.whole(file), ReadOptions())
    assert record.body == noise


def test_a_reader_that_runs_out_of_memory_is_a_bad_record(file, monkeypatch):
    def exhausted(*_):
        raise MemoryError
        yield

    file.write_bytes(GOOD)
    monkeypatch.setattr(source("body"), "read", exhausted)
    digest = Digest(Job()).read([("body", Part.whole(file))])
    assert "more memory than there is" in digest.tally.examples[0].reason
