"""Bodies that would warm another model, or reach into memory that is not theirs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.codec import check_body
from kserve_warmup.protocols.protobuf_fields import fields, without
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples import SampleSet
from kserve_warmup.samples.sample import Sample, Signature
from kserve_warmup.transports.endpoints import infer_message

BODY = encode("grpc", [Tensor("x", "FP32", np.array([[1, 2]], np.float32))], request_id="7")[0]
OPEN_ENDS = [
    BODY + b"\x3a\x0a",  # raw_input_contents of ten bytes that do not follow
    BODY + b"\xfa\x3e\x10",  # an unknown field of sixteen
    BODY + b"\x3a\x80",  # a length that goes on
    BODY + b"\xba",  # a tag that goes on
    BODY + b"\x78",  # a number that does not follow
    BODY + b"\x78\x80",
    BODY + b"\x79\x00",  # eight bytes that do not follow
    BODY + b"\x7d\x00",  # four
    BODY + b"\x7b",  # a group, which its end mark alone closes
    BODY + b"\x7b\x7c",
    BODY + b"\x7c",
    BODY + b"\x7f",  # of no wire type
    BODY + b"\x02\x00",  # field 0
    BODY + b"\x8a\x80\x80\x80\x10\x05other",  # field 1 by a tag that 32 bits cut off
    BODY + b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
]


def parsed(body):
    return ModelInferRequest.FromString(body)


@pytest.mark.parametrize("body", OPEN_ENDS)
def test_a_message_whose_end_is_open_is_refused_by_whoever_names_its_model(body):
    with pytest.raises(SampleError, match=r"cut off|malformed"):
        infer_message(body, "iris")
    with pytest.raises(SampleError):
        request("grpc", body)


@pytest.mark.parametrize("body", OPEN_ENDS)
def test_a_set_with_such_a_message_does_not_open_and_the_sample_is_named(tmp_path, body, monkeypatch):
    sample = Sample("grpc", body, Signature(()), 1, "/inference.GRPCInferenceService/ModelInfer")
    with monkeypatch.context() as patched:  # written by somebody who does not check
        patched.setattr("kserve_warmup.samples.manifest.check_body", lambda *_: None)
        SampleSet("m", (sample,)).save(tmp_path / "set")
    with pytest.raises(SampleError, match=f"sample {sample.id}: the message is .*; remove it") as caught:
        SampleSet.open(tmp_path / "set")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        b"\x0a\x05other" + BODY,
        BODY + b"\x0a\x05other",
        b"\x0a\x01a" + BODY + b"\x0a\x05other" + b"\x0a\x00",
        BODY + b"\x8a\x00\x05other",  # the same field by a longer tag
        BODY + b"\x08\x05",  # its number with another wire type
        BODY + b"\xfa\x3e\x02hi",  # an unknown field
    ],
)
def test_a_message_is_for_the_model_at_hand_whatever_names_it_had(body):
    made = parsed(infer_message(body, "iris"))
    assert made.model_name == "iris"
    made.model_name = ""
    expected = parsed(BODY)
    assert (made.inputs, made.raw_input_contents, made.id) == (expected.inputs, expected.raw_input_contents, "7")


@given(st.binary(max_size=40), st.text(max_size=300))
@example(b"", "m" * 200)
def test_any_bytes_are_refused_or_become_a_message_for_the_model_at_hand(tail, model):
    try:
        made = infer_message(BODY + tail, model)
    except SampleError:
        return
    try:
        found = parsed(made)
    except DecodeError:  # what a server refuses warms nothing else
        return
    assert found.model_name == model


@given(st.binary(max_size=40))
def test_the_fields_of_a_message_are_all_of_it(tail):
    try:
        found = list(fields(BODY + tail))
    except SampleError:
        return
    assert [start for _, start, _ in found] == [0, *(stop for _, _, stop in found[:-1])]
    assert found[-1][2] == len(BODY + tail)
    assert all(number != 7 for number, _, _ in fields(without(BODY + tail, 7)))


def v2(**changes):
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}
    return json.dumps({"inputs": [tensor | changes.pop("tensor", {})]} | changes).encode()


REGION = {"parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 8}}
SHARED = [
    ("v2", v2(tensor=REGION)),
    ("v2", v2(outputs=[{"name": "y"} | REGION])),
    ("v2", v2(outputs=[{"name": "y"} | REGION]).replace(b"shared", b"\\u0073hared")),
    ("v2", v2(outputs=[{"name": "y"} | REGION])[:-1] + b', "outputs": []}'),  # which of the two counts, servers decide
    ("v2-binary", v2(outputs=[{"name": "y"} | REGION])),
]


@pytest.mark.parametrize(("protocol", "body"), SHARED)
def test_a_request_that_names_shared_memory_is_no_sample(protocol, body):
    with pytest.raises(SampleError, match="shared memory"):
        check_body(protocol, body, {"inference-header-content-length": str(len(body))})
    if protocol == "v2":
        with pytest.raises(SampleError, match="shared memory"):
            request(protocol, body)


@pytest.mark.parametrize("part", ["inputs", "outputs"])
def test_a_grpc_request_that_names_shared_memory_is_no_sample(part):
    message = parsed(BODY)
    item = message.inputs[0] if part == "inputs" else message.outputs.add(name="y")
    item.parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(SampleError, match="shared_memory_region"):
        request("grpc", message.SerializeToString())


def test_text_about_shared_memory_is_text():
    word = Tensor("x", "BYTES", np.array([b"shared_memory_region"], dtype=object))
    for protocol in ("v1", "v2", "v2-binary", "grpc"):
        body, headers = encode(protocol, [word])
        assert request(protocol, body, headers=headers).body == body
    escaped = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["\\u003c"]}]})
    assert request("v2", escaped.replace("\\\\", "\\").encode())
