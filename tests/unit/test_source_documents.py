"""Requests from CloudEvents, SageMaker's Data Capture, and the logs of MLServer and Seldon."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent

from kserve_warmup.protocols.bodies import decode, encode
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.sample import TensorSpec
from kserve_warmup.sampling.digest import FORMATS, source
from kserve_warmup.sampling.formats import cloudevents, sagemaker, v2_log
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, seconds
from kserve_warmup.sampling.reader import read

GOLDEN = Path(__file__).parents[1] / "data" / "traffic" / "mlserver_v2.jsonl"
V1 = b'{"instances":  [[1, 2], [3, 4]]}'
V2 = {"id": "1", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2.5]}]}
BINARY, HEADERS = encode("v2-binary", [Tensor("x", "FP32", np.array([[1.5, 2.5]], np.float32))])


def write(tmp_path, content: bytes | str, name: str = "traffic"):
    file = tmp_path / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def tensors(sample) -> dict[str, list]:
    return {t.name: t.data.tolist() for t in decode(sample.protocol, sample.body, sample.headers)}


def event(body: bytes, kind: str = "request", content_type: str = "application/json", **more: str) -> CloudEvent:
    attributes = {"type": f"org.kubeflow.serving.inference.{kind}", "source": "http://localhost:9081/"}
    attributes |= {"datacontenttype": content_type, "time": "2026-05-01T08:00:00.123456789Z", "namespace": "ns"}
    return CloudEvent(attributes | {"inferenceservicename": "iris", "component": "predictor"} | more, body)


def message(made: CloudEvent, *, length: bool = False, request_line: bool = False) -> bytes:
    headers, body = to_binary(made)
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    if request_line:
        lines.insert(0, "POST / HTTP/1.1")
    return "\r\n".join([*lines, "", ""]).encode() + body


METADATA = json.dumps(
    {"Inference-Header-Content-Length": [HEADERS["inference-header-content-length"]], "Cookie": ["x"]}
)


@pytest.mark.parametrize("request_line", [True, False])
def test_events_in_binary_mode_give_the_request_byte_for_byte(tmp_path, request_line):
    events = (event(V1), event(b'{"predictions":[1]}', "response"), event(BINARY, metadata=METADATA), event(BINARY))
    for number, made in enumerate(events):
        write(tmp_path, message(made, request_line=request_line), f"{number}.http")
    found = list(read([tmp_path]))
    assert [s.body for s in found] == [V1, BINARY, BINARY]
    assert found[1] == found[2]
    assert found[1].headers == HEADERS  # what the metadata did not keep is found again
    (record,) = cloudevents.read(Part.whole(tmp_path / "0.http"), ReadOptions())
    assert record.time == datetime(2026, 5, 1, 8, tzinfo=timezone.utc).timestamp() + 0.123456789


def test_messages_that_tell_their_length_may_follow_one_another_and_the_last_one_be_cut_off(tmp_path):
    content = b"".join(message(event(body), length=True, request_line=True) for body in (V1, BINARY, V1))
    first, second, bad = read([write(tmp_path, content[:-5])])
    assert (first.body, second.body) == (V1, BINARY)
    assert isinstance(bad, BadRecord)
    assert bad.number == 3


@pytest.mark.parametrize("array", [True, False])
def test_structured_events_give_their_requests_one_or_many(tmp_path, array):
    made = [event(BINARY), event(V1), event(b'{"predictions":[1]}', "response")]
    made = [to_structured(e)[1].decode() for e in made]
    assert '"data_base64"' in made[0]
    broken = '{"specversion": "1.0", "type": "x.request", "data_base64": "*"}'
    content = f"[{','.join([*made, broken])}]" if array else "\n".join([*made, broken])
    first, second, bad = read([write(tmp_path, content)])
    assert (first.body, second.body) == (BINARY, V1)
    assert isinstance(bad, BadRecord)
    assert (bad.number, bad.unit) == (4, "record" if array else "line")


def test_structured_json_data_is_a_request_too(tmp_path):
    made = json.loads(to_structured(event(b"x"))[1])
    del made["data_base64"]
    lines = "\n".join(json.dumps(made | {"data": data}) for data in (V2, V1.decode()))
    first, second = read([write(tmp_path, lines)])
    assert tensors(first) == {"x": [[1.5, 2.5]]}
    assert second.body == V1


def test_lines_with_an_events_headers_tell_requests_from_responses(tmp_path):
    lines = [
        {"headers": {"Ce-Type": f"org.kubeflow.serving.inference.{kind}"}, "body": V1.decode()}
        for kind in ("request", "response")
    ]
    (found,) = read([write(tmp_path, "\n".join(map(json.dumps, lines)))])
    assert found.body == V1


def test_mlservers_own_requests_are_read_bare_and_inside_of_documents(tmp_path):
    bare, frame, text, inside = read([GOLDEN])
    assert tensors(bare) == tensors(inside) == {"input-1": [[0.5, 1.5]]}
    assert tensors(frame) == {"age": [[34], [51]], "score": [[0.5], [1.5]]}
    assert tensors(text) == {"text": [[b"a"], [b"b"]]}
    first, *others = GOLDEN.read_bytes().splitlines()
    assert [s.body for s in read([write(tmp_path, b"\n".join([first, others[0]]))])] == [first, others[0]]


def captured(data: str, encoding: str, content_type: str) -> dict:
    call = {"observedContentType": content_type, "mode": "INPUT", "data": data, "encoding": encoding}
    answer = call | {"mode": "OUTPUT", "data": "0.5"}
    metadata = {"eventId": "e1a4", "inferenceTime": "2026-05-01T08:00:00Z"}
    return {
        "captureData": {"endpointInput": call, "endpointOutput": answer},
        "eventMetadata": metadata,
        "eventVersion": "0",
    }


def test_captured_calls_of_sagemaker_become_requests(tmp_path):
    lines = [
        captured("132,25.5,Ohio\n7,1,Iowa", "CSV", "text/csv"),
        captured(V1.decode(), "JSON", "application/json"),
        captured(base64.b64encode(BINARY).decode(), "BASE64", "application/octet-stream"),
        captured(base64.b64encode(b"1,2").decode(), "BASE64", "text/csv; charset=utf-8"),
        {"captureData": {"endpointOutput": {"data": "1", "encoding": "CSV"}}, "eventVersion": "0"},
        captured("*", "BASE64", "application/json"),
        {"captureData": {}, "eventVersion": "0"},
    ]
    file = write(tmp_path, "\n".join(map(json.dumps, lines)))
    *found, bad, worse = read([file])
    assert [s.protocol for s in found] == ["v1", "v1", "v2-binary", "v1"]
    assert json.loads(found[0].body) == {"instances": [[132, 25.5, "Ohio"], [7, 1, "Iowa"]]}
    assert [s.body for s in found[1:3]] == [V1, BINARY]
    assert json.loads(found[3].body) == {"instances": [[1, 2]]}
    assert (bad.where, worse.where) == (f"{file}:6", f"{file}:7")
    record = next(sagemaker.read(Part.whole(file), ReadOptions()))
    assert record.time == datetime(2026, 5, 1, 8, tzinfo=timezone.utc).timestamp()


def test_captured_rows_become_a_typed_input_when_one_is_declared(tmp_path):
    file = write(tmp_path, json.dumps(captured("1,2,3,4\n5,6,7,8", "CSV", "text/csv")))
    options = ReadOptions(inputs={"x": TensorSpec("x", "FP32", (2, 2))})
    (found,) = read([file], options=options)
    assert (str(found.signature), found.batch) == ("x:FP32[N,2,2]", 2)
    (bad,) = read([file], options=ReadOptions(inputs={"x": TensorSpec("x", "FP32", (3,))}))
    assert "shape [3]" in bad.reason


def test_documents_of_seldons_logger_give_the_v2_requests_in_them(tmp_path):
    both = {"request": {"payload": V2, "ce-time": "2026-05-01T08:00:00Z"}, "response": {"payload": {}}}
    answer = {"response": {"payload": {"outputs": []}}, "RequestId": "7"}
    other = {"request": {"payload": {"data": {"words": [[1]]}}}}
    lines = [both, {"_index": "inference-log", "_source": both}, answer, {"inference_request": V2, "model": "m"}, other]
    *found, bad = read([write(tmp_path, "\n".join(map(json.dumps, lines)))])
    assert [tensors(s) for s in found] == [{"x": [[1.5, 2.5]]}] * 3
    assert {s.protocol for s in found} == {"v2"}
    assert bad.number == 5
    pretty = write(tmp_path, json.dumps([both, answer], indent=2), "pretty.json")
    (record,) = v2_log.read(Part.whole(pretty), ReadOptions())
    assert record.time == datetime(2026, 5, 1, 8, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize("form", ["cloudevents", "sagemaker", "v2-log"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"\xff", b'{"a": 1}\n[]\n', b"[" * 5000])
def test_what_is_of_another_form_is_a_bad_record_and_no_error(tmp_path, form, content):
    found = list(read([write(tmp_path, content)], form=form))
    assert all(isinstance(record, BadRecord) and "\n" not in record.reason for record in found)
    assert found or not content


def test_each_form_is_told_by_its_content():
    heads = {
        "cloudevents": [message(event(V1)), to_structured(event(V1))[1], b"POST / HTTP/1.1\r\n" + message(event(V1))],
        "sagemaker": [json.dumps(captured("1", "CSV", "text/csv")).encode()],
        "v2-log": [json.dumps({"_source": {"request": {"payload": V2}}}).encode()],
        "jsonl": [V1, json.dumps(V2).encode()],
        "csv": [b"a,b\n1,2\n"],
        "parquet": [b"PAR1"],
        "body": [BINARY, b"\x00\x01", b"", b"one line of text"],
    }
    for form, all_of in heads.items():
        for head in all_of:
            assert next(name for name in FORMATS if source(name).sniff(head)) == form, head


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1),
        ("1970-01-01T01:00:01.5+01:00", 1.5),
        ("1970-01-01 00:00:01", 1),
        ("1970-13-01T00:00:01Z", None),
        ("yesterday", None),
        (None, None),
        (7, None),
    ],
)
def test_times_are_read_as_rfc_3339(text, expected):
    assert seconds(text) == expected
