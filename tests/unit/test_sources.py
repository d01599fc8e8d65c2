"""Recorded traffic in every format, whole and damaged."""

from __future__ import annotations

import base64
import gzip
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from strategies import requests_of

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode, encode, request
from kserve_warmup.protocols.tensors import BYTES, Tensor
from kserve_warmup.samples import Sample
from kserve_warmup.samples.sample import TensorSpec
from kserve_warmup.sampling.formats import kserve_logger
from kserve_warmup.sampling.formats.jsonl import write_jsonl
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions
from kserve_warmup.sampling.reader import Tally, find_files, read, sample_traffic

V1 = b'{"instances": [[1, 2], [3, 4]]}'
V2 = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
CHAT = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
NUMBERS = [Tensor("x", "FP32", np.array([[1.5, 2.5]], np.float32))]


def write(tmp_path: Path, content: bytes, name: str = "traffic") -> Path:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def tensors(sample: Sample) -> dict[str, list]:
    return {t.name: t.data.tolist() for t in decode(sample.protocol, sample.body, sample.headers)}


def logged(body: bytes, kind: str = "request", **more) -> dict:
    record = {"url": None, "bytes": base64.b64encode(body).decode(), "contentType": "application/json"}
    return record | {"reqType": f"org.kubeflow.serving.inference.{kind}", "id": "1"} | more


def test_lines_of_bodies_are_told_apart_by_their_content_and_kept_byte_for_byte(tmp_path):
    found = list(read([write(tmp_path, b"\n".join([V1, b"", V2, CHAT]))]))
    assert [(s.protocol, s.body) for s in found] == [("v1", V1), ("v2", V2), ("openai", CHAT)]


@given(requests_of())
def test_recorded_requests_come_back_exactly(inputs):
    samples = []
    for protocol in ("v2-binary", "grpc"):
        body, headers = encode(protocol, inputs)
        samples.append(request(protocol, body, headers=headers, path="/v2/models/{model}/versions/3/infer"))
    samples += [request("v1", V1, headers={"Accept": "*/*"}), request("openai", CHAT, path="/v1/chat/completions")]
    with tempfile.NamedTemporaryFile() as file:
        assert write_jsonl(file, samples) == 4
        file.flush()
        assert list(read([file.name])) == samples


def test_an_envelope_may_leave_out_all_but_the_body_and_hold_json_as_it_is(tmp_path):
    lines = [{"body": json.loads(V1)}, {"body": V2.decode(), "headers": {"Authorization": "Bearer x"}}]
    file = write(tmp_path, b"\n".join(json.dumps(line).encode() for line in lines))
    found = list(read([file]))
    assert [(s.protocol, s.headers) for s in found] == [(p, {"content-type": "application/json"}) for p in ("v1", "v2")]
    assert tensors(found[0]) == {"instances": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    "line",
    [
        b'{"instances": [[1',
        b"[1]",
        b'"text"',
        b'{"body": "x"}',
        b'{"body_b64": "*"}',
        b'{"body_b64": 1}',
        b'{"body": "x", "protocol": "v9"}',
        b'{"body": {"instances": [1]}, "headers": 3}',
        b'{"body": {"instances": [1]}, "path": 3}',
        b'{"bytes": "*", "reqType": "request"}',
        b'{"bytes": 7, "reqType": "request"}',
        b'{"predictions": [1]}',
        b"\xff\x00",
        b"[" * 5000,
    ],
)
def test_a_bad_line_is_skipped_and_told_by_file_and_number(tmp_path, line):
    file = write(tmp_path, b"\n".join([V1, line, V1]))
    first, bad, last = read([file])
    assert first == last == request("v1", V1)
    assert isinstance(bad, BadRecord)
    assert bad.where == f"{file}:2"
    assert "\n" not in bad.reason


def test_a_broken_first_line_does_not_hide_the_others(tmp_path):
    bad, good = read([write(tmp_path, V1[:-4] + b"\n" + V1)])
    assert isinstance(bad, BadRecord)
    assert good.body == V1


def test_compressed_files_are_read_and_a_truncated_one_gives_what_it_has(tmp_path):
    content = b"\n".join(b'{"instances": [%d]}' % number for number in range(100_000))
    packed = gzip.compress(content)
    assert sum(1 for _ in read([write(tmp_path, packed, "whole.jsonl.gz")])) == 100_000
    *found, bad = read([write(tmp_path, packed[: len(packed) // 2], "half.jsonl.gz")])
    assert isinstance(bad, BadRecord)
    assert len(found) > 1000
    assert bad.where.endswith(f"half.jsonl.gz:{len(found) + 1}") or isinstance(found[-1], BadRecord)


@pytest.mark.parametrize("go_names", [False, True])
@pytest.mark.parametrize("array", [False, True])
def test_logger_blobs_give_their_requests_and_not_their_responses(tmp_path, go_names, array):
    body, headers = encode("v2-binary", NUMBERS)
    secret = {"metadata": {"Authorization": ["Bearer x"], "Inference-Header-Content-Length": [headers.popitem()[1]]}}
    records = [logged(V1), logged(b'{"predictions": [1]}', "response"), logged(body, **secret), logged(CHAT)]
    if go_names:
        records = [{key[0].upper() + key[1:]: value for key, value in record.items()} for record in records]
    blobs = [json.dumps(records)] if array else map(json.dumps, records)
    for number, blob in enumerate(blobs):
        write(tmp_path, blob.encode(), f"ns/isvc/predictor/{number}-request.json")
    found = list(read([tmp_path]))
    assert [s.protocol for s in found] == ["v1", "v2-binary", "openai"]
    assert tensors(found[1]) == {"x": [[1.5, 2.5]]}
    assert "authorization" not in found[1].headers
    assert found[1].headers["content-type"] == "application/octet-stream"


def test_a_logged_binary_body_whose_length_header_was_not_kept_is_read(tmp_path):
    body, headers = encode("v2-binary", NUMBERS)
    (found,) = read([write(tmp_path, json.dumps([logged(body)]).encode())])
    assert (found.body, found.headers) == (body, headers)


def test_a_logged_record_tells_when_it_was(tmp_path):
    file = write(tmp_path, json.dumps([logged(V1, occurrenceTime="1970-01-01T00:01:00.5Z"), logged(V1)]).encode())
    assert [r.time for r in kserve_logger.read(Part.whole(file), ReadOptions())] == [60.5, None]


def test_bad_records_of_a_blob_are_told_by_their_number(tmp_path):
    file = write(tmp_path, json.dumps([logged(V1), {"no": "record"}, logged(b"?")]).encode())
    first, second, third = read([file])
    assert first.body == V1
    assert (second.where, third.where) == (f"{file}: record 2", f"{file}: record 3")


def test_perf_analyzer_entries_become_requests_of_one_row(tmp_path):
    raw = base64.b64encode(np.array([1.5, 2.5], "<f4").tobytes()).decode()
    entry = {
        "CONTENT": {"content": [1, 2, 3, 4], "shape": [2, 2]},
        "FLAT": [0.5],
        "NESTED": [[1, 2], [3, 4]],
        "TEXT": ["é"],
        "RAW": {"b64": raw},
        "RAW_CONTENT": {"content": {"b64": raw}, "shape": [2]},
    }
    options = ReadOptions(inputs={n: TensorSpec(n, "FP32", (2,)) for n in ("RAW", "RAW_CONTENT")})
    (found,) = read([write(tmp_path, json.dumps({"data": [entry]}).encode())], options=options)
    assert str(found.signature) == (
        "CONTENT:INT64[N,2,2] FLAT:FP32[N,1] NESTED:INT64[N,2,2] RAW:FP32[N,2] RAW_CONTENT:FP32[N,2] TEXT:BYTES[N,1]"
    )
    assert found.batch == 1
    assert tensors(found) == {
        "CONTENT": [[[1, 2], [3, 4]]],
        "FLAT": [[0.5]],
        "NESTED": [[[1, 2], [3, 4]]],
        "TEXT": [["é".encode()]],
        "RAW": [[1.5, 2.5]],
        "RAW_CONTENT": [[1.5, 2.5]],
    }


def test_perf_analyzer_sequences_and_batches(tmp_path):
    file = write(tmp_path, json.dumps({"data": [[{"X": [1]}, {"X": [2]}], {"X": [3]}, {"X": [4, 5]}]}).encode())
    found = list(read([file], options=ReadOptions(batch_sizes=(1, 2))))
    assert [tensors(s)["X"] for s in found] == [[[1]], [[2]], [[3]], [[4, 5]], [[1], [2]]]
    found = list(read([file], options=ReadOptions(batch_sizes=(0,))))
    assert [tensors(s)["X"] for s in found] == [[1], [2], [3], [4, 5]]


@pytest.mark.parametrize(
    "value",
    [
        {"b64": "AAAA"},
        [[1], [2, 3]],
        [1, "a"],
        {"content": [1, 2], "shape": [3]},
        {"content": [1], "shape": "x"},
        [None],
    ],
)
def test_a_bad_perf_analyzer_entry_is_skipped_and_names_the_input(tmp_path, value):
    file = write(tmp_path, json.dumps({"data": [{"X": value}, {"X": [1]}]}).encode())
    bad, good = read([file])
    assert bad.where == f"{file}: entry 1"
    assert "X" in bad.reason
    assert tensors(good) == {"X": [[1]]}


def test_a_declared_type_wins_over_the_values_and_must_hold_them(tmp_path):
    file = write(tmp_path, b'{"data": [{"X": [1, 2]}, {"X": [1, 300]}]}')
    bad, good = read([file], options=ReadOptions(inputs={"X": TensorSpec("X", "UINT8", ())}))
    assert good.signature.inputs == (TensorSpec("X", "UINT8", (2,)),)
    assert "UINT8" in bad.reason


def test_rows_of_a_numpy_archive_become_requests_of_the_batch_sizes_asked_for(tmp_path):
    file = tmp_path / "rows.npz"
    np.savez_compressed(file, x=np.arange(10, dtype=np.float32).reshape(5, 2), text=np.array(["a", "b", "c", "d", "é"]))
    found = list(read([file], options=ReadOptions(batch_sizes=(1, 2))))
    assert [(s.protocol, s.batch) for s in found] == [("v2-binary", 1)] * 5 + [("v2-binary", 2)] * 2
    assert tensors(found[4]) == {"x": [[8, 9]], "text": ["é".encode()]}
    assert tensors(found[6]) == {"x": [[4, 5], [6, 7]], "text": [b"c", b"d"]}
    assert str(found[0].signature) == "text:BYTES[N] x:FP32[N,2]"


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros(3), "y": np.zeros(2)}, "number of rows"),
        ({"x": np.zeros(3, np.complex64)}, "complex64"),
        ({"x": np.array([None, 1])}, "not a readable"),
        ({"x": np.zeros((0, 2))}, "cannot be made of 0 rows"),
    ],
)
def test_an_archive_that_holds_no_rows_says_why(tmp_path, arrays, reason):
    np.savez(tmp_path / "rows.npz", **arrays)
    (bad,) = read([tmp_path / "rows.npz"])
    assert reason in bad.reason


def test_a_truncated_archive_is_a_bad_record(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.zeros((100, 10)))
    content = (tmp_path / "rows.npz").read_bytes()
    (bad,) = read([write(tmp_path, content[:1000], "rows.npz")])
    assert isinstance(bad, BadRecord)


@pytest.mark.parametrize("protocol", ["v2-binary", "grpc"])
def test_a_file_may_be_one_body(tmp_path, protocol):
    body, _ = encode(protocol, NUMBERS)
    pretty = json.dumps(json.loads(V1), indent=2).encode()
    write(tmp_path, body, "a.bin")
    write(tmp_path, pretty, "b.json")
    assert [(s.protocol, s.body) for s in read([tmp_path])] == [(protocol, body), ("v1", pretty)]


def test_files_folders_and_globs_are_found_each_once_and_hidden_ones_left_out(tmp_path):
    for name in ("a.jsonl", "sub/b.jsonl", ".hidden/c.jsonl", "sub/.d.jsonl"):
        write(tmp_path, V1, name)
    expected = [str(tmp_path / "a.jsonl"), str(tmp_path / "sub/b.jsonl")]
    assert find_files([tmp_path]) == expected
    assert find_files([tmp_path / "*.jsonl", tmp_path]) == expected
    assert find_files([f"{tmp_path}/**/*.jsonl"]) == expected
    with pytest.raises(SampleError, match="no such file"):
        find_files([tmp_path / "nothing"])


def test_a_format_that_is_asked_for_is_not_guessed(tmp_path):
    assert isinstance(next(read([write(tmp_path, V1)], form="npz")), BadRecord)
    with pytest.raises(SampleError, match="unknown format 'xml'"):
        next(read([tmp_path], form="xml"))


def test_too_many_bad_records_are_an_error_that_shows_the_first(tmp_path):
    file = write(tmp_path, b"\n".join([V1] * 98 + [b"?", b"!", b""]))
    with pytest.raises(SampleError, match=r"2 of 100 records \(2.0%\).*--max-bad 0.01.*:99: ") as caught:
        sample_traffic([file], "m")
    assert "\n" not in str(caught.value)
    samples, tally = sample_traffic([file], "m", max_bad=0.02)
    assert (len(samples), tally.requests, tally.bad) == (1, 98, 2)


def test_what_a_process_was_writing_when_it_was_killed_is_told_but_is_no_damage(tmp_path):
    cut, empty = write(tmp_path, V1 + b"\n" + V1[:-3], "cut.jsonl"), write(tmp_path, b"", "empty.jsonl")
    samples, tally = sample_traffic([cut, empty], "m", max_bad=0)
    assert (len(samples), tally.requests, tally.bad, tally.unfinished) == (1, 1, 2, 2)
    assert [bad.where for bad in tally.examples] == [f"{cut}:2", str(empty)]
    with pytest.raises(SampleError, match="1 of 2 records"):
        sample_traffic([write(tmp_path, V1 + b"\n" + V1[:-3] + b"\n", "damaged.jsonl")], "m", max_bad=0)


def test_only_a_few_bad_records_are_remembered():
    tally = Tally()
    for number in range(100):
        tally.skip(BadRecord("file", "bad", number + 1, "line"))
    assert (tally.bad, [b.where for b in tally.examples]) == (100, [f"file:{number}" for number in range(1, 6)])


def test_text_that_is_bytes_stays_bytes(tmp_path):
    np.savez(tmp_path / "rows.npz", x=np.array([b"\xff\x01", b"a"]))
    first, _ = read([tmp_path / "rows.npz"])
    assert first.signature.inputs[0].datatype == BYTES
    assert tensors(first) == {"x": [b"\xff\x01"]}


@pytest.mark.parametrize("path", ["/v2/repository/models/x/unload", "/v2/health/ready", "//evil/v1/models/m:predict"])
def test_a_record_that_was_not_sent_to_an_inference_endpoint_is_counted_and_told(tmp_path, path):
    good = {"path": "/v1/models/m:predict", "body": {"instances": [1]}}
    file = write(tmp_path, b"\n".join(json.dumps(line).encode() for line in (good, good | {"path": path}, good)))
    samples, tally = sample_traffic([file], "m", max_bad=0.5)
    assert (tally.requests, tally.bad) == (2, 1)
    assert tally.examples[0].where == f"{file}:2"
    assert f"{path!r} is no inference endpoint" in tally.examples[0].reason
    assert {sample.path for sample in samples} == {"/v1/models/{model}:predict"}


def test_a_body_that_looks_like_v2_is_v1_where_it_was_sent_to_v1(tmp_path):
    file = write(tmp_path, json.dumps({"path": "/v1/models/m:explain", "body": json.loads(V2)}).encode())
    (found,) = read([file])
    assert (found.protocol, found.verb, found.path) == ("v1", "explain", "/v1/models/{model}:explain")
