"""Every way in which KServe's logger delivers and every kind of body: told apart by content, byte for byte."""

from __future__ import annotations

import base64
import csv
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from cloudevents.conversion import to_binary, to_structured
from cloudevents.http import CloudEvent
from pyarrow import parquet

from kserve_warmup.protocols.bodies import encode
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.sampling.reader import read, sample_traffic

INPUTS = [Tensor("x", "FP32", np.array([[1.5, 2.5], [3.5, 4.5]], np.float32))]
BODIES = {
    "v1": b'{"instances":  [[1, 2], [3, 4]]}',
    "v2": encode("v2", INPUTS)[0],
    "v2-binary": encode("v2-binary", INPUTS)[0],
    "grpc": encode("grpc", INPUTS)[0],
    "openai": b'{"model": "m",  "messages": [{"role": "user", "content": "hello"}]}',
}
KIND = "org.kubeflow.serving.inference"


def record(body: bytes, kind: str) -> dict[str, str]:
    """A logged call as KServe stores it; the content type is the logger's default, whatever the body is."""
    data = base64.b64encode(body).decode()
    return {"bytes": data, "contentType": "application/json", "reqType": f"{KIND}.{kind}", "id": "1", "metadata": ""}


def event(body: bytes, kind: str) -> CloudEvent:
    attributes = {"type": f"{KIND}.{kind}", "source": "http://localhost:9081/", "datacontenttype": "application/json"}
    return CloudEvent(attributes | {"inferenceservicename": "iris", "namespace": "ns", "component": "predictor"}, body)


def as_csv(calls: list[tuple[bytes, str]]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(record(b"", "request")))
    writer.writeheader()
    writer.writerows(record(*call) for call in calls)
    return stream.getvalue().encode()


def as_parquet(calls: list[tuple[bytes, str]]) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist([record(*call) for call in calls]), stream)
    return stream.getvalue()


def as_messages(calls: list[tuple[bytes, str]]) -> bytes:
    messages = []
    for call in calls:
        headers, body = to_binary(event(*call))
        lines = [f"{name}: {value}" for name, value in {**headers, "content-length": len(body)}.items()]
        messages.append("\r\n".join(["POST / HTTP/1.1", *lines, "", ""]).encode() + body)
    return b"".join(messages)


DELIVERIES = {
    "JSON array": lambda calls: json.dumps([record(*call) for call in calls]).encode(),
    "JSON lines": lambda calls: "\n".join(json.dumps(record(*call)) for call in calls).encode(),
    "CSV": as_csv,
    "Parquet": as_parquet,
    "structured events": lambda calls: b"[" + b",".join(to_structured(event(*call))[1] for call in calls) + b"]",
    "events a line": lambda calls: b"\n".join(to_structured(event(*call))[1] for call in calls),
    "messages": as_messages,
}
ANSWER = (b'{"predictions": [1]}', "response")


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("protocol", BODIES)
def test_a_request_is_told_by_its_body_and_kept_byte_for_byte(tmp_path, delivery, protocol):
    body = BODIES[protocol]
    (tmp_path / "traffic").write_bytes(DELIVERIES[delivery]([(body, "request"), ANSWER, (body, "request")]))
    found = list(read([tmp_path / "traffic"]))
    assert [(s.protocol, s.body) for s in found] == [(protocol, body)] * 2


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_all_kinds_together_become_a_set_with_a_stratum_each(tmp_path, delivery):
    calls = [(body, "request") for body in BODIES.values()] + [ANSWER]
    (tmp_path / "traffic").write_bytes(DELIVERIES[delivery](calls))
    samples, tally = sample_traffic([tmp_path / "traffic"], "m")
    assert (tally.requests, tally.bad) == (5, 0)
    assert sorted(s.protocol for s in samples) == sorted(BODIES)
    assert {s.protocol: s.body for s in samples} == BODIES


@pytest.mark.parametrize("protocol", BODIES)
def test_a_single_record_is_a_file_of_its_own(tmp_path, protocol):
    (tmp_path / "1-request.json").write_text(json.dumps(record(BODIES[protocol], "request")))
    (tmp_path / "1-response.json").write_text(json.dumps(record(*ANSWER)))
    assert [s.body for s in read([tmp_path])] == [BODIES[protocol]]
