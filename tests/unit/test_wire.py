"""Bodies of every protocol, to tensors and back, and what a recorded body tells of its request."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve import InferInput, InferRequest
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest
from strategies import NAMES, requests_of, tensors
from tritonclient.http import InferenceServerClient
from tritonclient.http import InferInput as TritonInput

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode, encode, identify, parse, request
from kserve_warmup.protocols.grpc_body import _CONTENTS
from kserve_warmup.protocols.tensors import Tensor, bytes_array, datatype_of, element_size, from_raw, to_dtype, to_raw
from kserve_warmup.samples.sample import DATATYPES, PROTOCOLS, TensorSpec

NUMBERS = tuple(t for t in DATATYPES if t not in ("BYTES", "BF16"))


def same(ours, theirs) -> bool:
    """Equal to the last bit."""
    return len(ours) == len(theirs) and all(
        (a.name, a.datatype, a.data.shape, a.data.dtype) == (b.name, b.datatype, b.data.shape, b.data.dtype)
        and to_raw(a) == to_raw(b)
        for a, b in zip(ours, theirs, strict=True)
    )


def problem(use) -> str:
    """The message of the SampleError that ``use`` raises, if it raises one; no other exception is caught."""
    try:
        use()
    except SampleError as error:
        return str(error)
    return ""


def text_tensor(value: bytes) -> Tensor:
    return Tensor("t", "BYTES", bytes_array([value], [1]))


@given(requests_of())
@pytest.mark.parametrize("protocol", ["v2-binary", "grpc"])
def test_binary_protocols_carry_every_type_and_bit_pattern_exactly(protocol, inputs):
    body, headers = encode(protocol, inputs, request_id="7")
    assert same(inputs, decode(protocol, body, headers))


@given(requests_of(datatypes=(*NUMBERS, "BYTES"), finite=True, text=True))
def test_v2_json_carries_every_finite_number_and_text_exactly(inputs):
    body, headers = encode("v2", inputs)
    assert same(inputs, decode("v2", body, headers))


@given(st.integers(1, 4).flatmap(lambda rows: requests_of(
    datatypes=("INT64", "FP64", "BOOL", "BYTES"),
    shapes=st.lists(st.integers(1, 3), max_size=2).map(lambda rest: [rows, *rest]),
    finite=True,
)))  # fmt: skip
def test_v1_carries_its_four_types_exactly_and_any_bytes_as_base64(inputs):
    body, headers = encode("v1", inputs)
    decoded = decode("v1", body, headers)
    assert same(sorted(inputs, key=lambda t: t.name), sorted(decoded, key=lambda t: t.name))


@given(tensors(datatypes=("INT64", "FP64", "BYTES"), shapes=st.just([2, 3]), names=st.just("instances"), finite=True))
def test_a_v1_list_without_keys_is_one_tensor_named_after_it(tensor):
    body, headers = encode("v1", [tensor])
    assert same([tensor], decode("v1", body, headers))


@given(requests_of())
def test_a_lost_content_length_header_is_found_again(inputs):
    body, headers = encode("v2-binary", inputs)
    assert same(inputs, decode("v2-binary", body, {}))
    assert request("v2-binary", body).headers == headers


@given(requests_of())
@pytest.mark.parametrize("protocol", ["v2-binary", "grpc"])
def test_the_signature_leaves_out_the_rows_that_all_inputs_share(protocol, inputs):
    body, headers = encode(protocol, inputs)
    signature, batch, _ = (*parse(protocol, body, headers).signature(), ())
    shapes = {i.name: signature.full_shape(i, batch) for i in signature.inputs}
    assert shapes == {t.name: t.data.shape for t in inputs}
    leading = {t.data.shape[:1] for t in inputs}
    assert signature.batched == (len(leading) == 1 and not leading & {(), (0,)})
    assert list(signature.inputs) == sorted(signature.inputs)


@given(requests_of(datatypes=NUMBERS, finite=True), st.sampled_from(["v2", "v2-binary", "grpc"]))
def test_a_body_tells_its_protocol(inputs, protocol):
    body, _ = encode(protocol, inputs)
    assert identify(body).protocol in ({protocol, "v2"} if body.endswith(b"}") else {protocol})


@given(st.sampled_from(PROTOCOLS), st.binary(max_size=60))
def test_bytes_that_are_no_request_are_a_sample_error_and_nothing_else(protocol, body):
    for use in (lambda: decode(protocol, body, {}), lambda: request(protocol, body), lambda: identify(body)):
        assert "\n" not in problem(use)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b64", "name"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["instances", "inputs"]), JSON)
def test_any_v1_json_is_a_sample_or_a_sample_error(key, value):
    body = json.dumps({key: value}).encode()
    for use in (lambda: request("v1", body), lambda: decode("v1", body, {})):
        assert "\n" not in problem(use)
    if not problem(lambda: request("v1", body)):
        assert request("v1", body).body == body
        assert request("v1", body).batch >= 1


@given(st.fixed_dictionaries({
    "name": JSON | st.just("x"),
    "shape": JSON | st.lists(st.integers(-1, 3), max_size=3) | st.just([10**30, 0]),
    "datatype": JSON | st.sampled_from(list(DATATYPES)),
    "data": JSON,
    "parameters": JSON | st.fixed_dictionaries({"binary_data_size": JSON}),
}), st.binary(max_size=9))  # fmt: skip
def test_any_v2_json_is_a_sample_or_a_sample_error(item, tail):
    body = json.dumps({"inputs": [item]}).encode()
    for protocol, content in (("v2", body), ("v2-binary", body + tail)):
        for use in (lambda p, c: decode(p, c, {}), request):
            assert "\n" not in problem(lambda use=use, protocol=protocol, content=content: use(protocol, content))


@given(st.data())
def test_damaged_bodies_are_a_sample_error_and_nothing_else(data):
    protocol = data.draw(st.sampled_from(["v1", "v2", "v2-binary", "grpc"]))
    inputs = [Tensor("a", "INT64", np.ones((2, 3), np.int64)), Tensor("b", "BOOL", np.ones((2, 1), np.bool_))]
    body, headers = encode(protocol, inputs)
    damaged = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged[: data.draw(st.integers(0, len(body)))])
    for use in (lambda: decode(protocol, damaged, headers), lambda: request(protocol, damaged, headers=headers)):
        assert "\n" not in problem(use)


@pytest.mark.parametrize("protocol", ["v1", "v2"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_refuses_numbers_that_it_cannot_carry(protocol, value):
    with pytest.raises(SampleError, match="NaN or infinity"):
        encode(protocol, [Tensor("x", "FP32", np.array([value], np.float32))])


def test_v2_json_refuses_bytes_that_are_not_utf_8():
    with pytest.raises(SampleError, match="not UTF-8"):
        encode("v2", [text_tensor(b"\xff\xfe")])


def test_v2_json_refuses_bf16_both_ways():
    with pytest.raises(SampleError, match="BF16"):
        encode("v2", [Tensor("x", "BF16", np.zeros(1, to_dtype("BF16")))])
    with pytest.raises(SampleError, match="BF16"):
        decode("v2", b'{"inputs":[{"name":"x","shape":[1],"datatype":"BF16","data":[1]}]}', {})


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT8", [128]),
        ("UINT8", [-1]),
        ("UINT64", [-1]),
        ("INT64", [2**63]),
        ("INT32", [1.5]),
        ("FP32", ["1"]),
        ("BOOL", [2]),
    ],
)
def test_a_value_that_does_not_fit_its_declared_type_is_named(datatype, data):
    body = json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": datatype, "data": data}]}).encode()
    with pytest.raises(SampleError, match="'x'"):
        decode("v2", body, {})


def test_nested_and_flat_v2_data_are_the_same():
    item = {"name": "x", "shape": [2, 2], "datatype": "FP32", "parameters": {"any": 1}}
    flat = json.dumps({"inputs": [item | {"data": [1, 2, 3, 4.5]}]}).encode()
    nested = json.dumps({"inputs": [item | {"data": [[1, 2], [3, 4.5]]}]}).encode()
    assert same(decode("v2", flat, {}), decode("v2", nested, {}))


@pytest.mark.parametrize(
    ("instances", "spec", "batch"),
    [
        ([[1, 2], [3]], TensorSpec("instances", "INT64", (-1,)), 2),
        ([[[1.5], [2]], [[3], [4]]], TensorSpec("instances", "FP64", (2, 1)), 2),
        (["a", "b", "c"], TensorSpec("instances", "BYTES", ()), 3),
        ([1, "a"], TensorSpec("instances", "JSON", ()), 2),
        ([{"a": 1}, {"b": 1}], TensorSpec("instances", "JSON", ()), 2),
        ([{"a": None}], TensorSpec("a", "JSON", ()), 1),
        ([{"image": {"b64": "aGk="}}], TensorSpec("image", "BYTES", ()), 1),
        ([True, False], TensorSpec("instances", "BOOL", ()), 2),
    ],
)
def test_every_v1_request_has_a_signature_even_when_no_tensor_holds_its_rows(instances, spec, batch):
    body = json.dumps({"instances": instances}).encode()
    sample = request("v1", body)
    assert (sample.signature.inputs, sample.signature.batched, sample.batch) == ((spec,), True, batch)
    assert sample.body == body


def test_v1_base64_values_are_decoded():
    (image,) = decode("v1", b'{"instances":[{"image":{"b64":"/9j/"}}]}', {})
    assert image.data.tolist() == [b"\xff\xd8\xff"]


def test_v1_inputs_may_be_columns():
    decoded = decode("v1", b'{"inputs":{"x":[[1],[2]],"y":["a","b"]}}', {})
    assert [(t.name, t.datatype, t.data.shape) for t in decoded] == [("x", "INT64", (2, 1)), ("y", "BYTES", (2,))]


def test_a_sample_keeps_no_header_but_the_allow_listed_ones_and_no_host_query_or_model_name():
    headers = {"Authorization": "Bearer x", "Cookie": "c", "X-User": "u", "Content-Type": "application/json"}
    sample = request("v1", b'{"instances":[1]}', path="https://u:p@host/v1/models/iris:predict?key=1", headers=headers)
    assert sample.headers == {"content-type": "application/json"}
    assert sample.path == "/v1/models/{model}:predict"
    assert sample.path_for("iris") == "/v1/models/iris:predict"


@pytest.mark.parametrize("path", ["relative", "/with space", "/line\nbreak", "", "/é"])
def test_a_path_that_cannot_be_sent_is_refused(path):
    with pytest.raises(SampleError, match="path"):
        request("v1", b'{"instances":[1]}', path=path)


@pytest.mark.parametrize(
    ("body", "name", "bucket", "batch", "path"),
    [
        ({"messages": [{"role": "user", "content": "x" * 9}]}, "chat", 16, 1, "/openai/v1/chat/completions"),
        (
            {"messages": [{"role": "user", "content": "x"}], "stream": True},
            "chat",
            1,
            1,
            "/openai/v1/chat/completions",
        ),
        ({"prompt": ["a" * 4, "b" * 8]}, "completion", 8, 2, "/openai/v1/completions"),
        ({"prompt": [1, 2, 3]}, "completion", 4, 1, "/openai/v1/completions"),
        ({"input": "x" * 65}, "embedding", 128, 1, "/openai/v1/embeddings"),
        ({"query": "q", "documents": ["a", "bcd"]}, "rerank", 4, 2, "/openai/v1/rerank"),
    ],
)
def test_an_openai_body_is_told_by_its_kind_and_the_length_of_its_longest_prompt(body, name, bucket, batch, path):
    raw = json.dumps(body).encode()
    sample = request("openai", raw)
    assert identify(raw).protocol == "openai"
    assert (sample.signature.inputs, sample.batch, sample.path) == (
        (TensorSpec(name, "BYTES", (bucket,)),),
        batch,
        path,
    )


def test_kserve_reads_what_is_encoded():
    numbers = [
        Tensor("x", "FP32", np.array([[1.5, -2.25]], np.float32)),
        Tensor("h", "FP16", np.array([[0.5]], np.float16)),
    ]
    rest = [*numbers, Tensor("t", "BYTES", bytes_array([b"caf\xc3\xa9", b"a"], [1, 2]))]
    # Over REST, KServe 0.21 decodes BYTES as UTF-8 (infer_type.py:319); gRPC takes any bytes.
    grpc = [*numbers, Tensor("t", "BYTES", bytes_array([b"\xff\x00", b"a"], [1, 2]))]
    body, headers = encode("v2-binary", rest, request_id="7")
    by_rest = InferRequest.from_bytes(body, int(headers["inference-header-content-length"]), "m")
    by_grpc = InferRequest.from_grpc(ModelInferRequest.FromString(encode("grpc", grpc, request_id="7")[0]))
    for sent, read in ((rest, by_rest), (grpc, by_grpc)):
        assert read.id == "7"
        assert [(i.name, i.datatype, list(i.shape)) for i in read.inputs] == [
            (t.name, t.datatype, list(t.data.shape)) for t in sent
        ]
        assert [i.as_numpy().tolist() for i in read.inputs[:2]] == [t.data.tolist() for t in numbers]
    assert by_grpc.inputs[2].as_numpy().tolist() == [[b"\xff\x00", b"a"]]
    assert by_rest.inputs[2].as_numpy().tolist() in ([["café", "a"]], [["café".encode(), b"a"]])


def test_what_kserve_and_tritonclient_send_is_decoded():
    data = np.arange(6, dtype=np.int32).reshape(2, 3)
    expected = [Tensor("x", "INT32", data)]
    item = InferInput("x", [2, 3], "INT32")
    item.set_data_from_numpy(data, binary_data=True)
    body, length = InferRequest("m", [item]).to_rest()
    assert same(expected, decode("v2-binary", body, {"inference-header-content-length": str(length)}))
    typed = InferInput("x", [2, 3], "INT32")
    typed.set_data_from_numpy(data, binary_data=False)
    assert same(expected, decode("grpc", InferRequest("m", [typed]).to_grpc().SerializeToString(), {}))
    triton = TritonInput("x", [2, 3], "INT32")
    triton.set_data_from_numpy(data)
    assert same(expected, decode("v2-binary", InferenceServerClient.generate_request_body([triton])[0], {}))


@given(tensors(datatypes=tuple(t for t in DATATYPES if t not in ("FP16", "BF16"))))
def test_typed_grpc_contents_are_decoded(tensor):
    message = ModelInferRequest()
    item = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.data.shape)
    getattr(item.contents, _CONTENTS[tensor.datatype]).extend(tensor.data.ravel().tolist())
    (decoded,) = decode("grpc", message.SerializeToString(), {})
    assert decoded.data.shape == tensor.data.shape
    assert np.array_equal(decoded.data, tensor.data, equal_nan=tensor.data.dtype.kind == "f")


def test_kserve_and_tritonclient_cannot_bring_their_grpc_messages_into_one_process():
    program = "import kserve.protocol.grpc.grpc_predict_v2_pb2\nimport tritonclient.grpc"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "duplicate symbol" in done.stderr


def test_grpc_bodies_are_read_without_importing_kserve():
    program = (
        "import sys\nfrom kserve_warmup.protocols import bodies\n"
        "from kserve_warmup.protocols.tensors import Tensor\n"
        "import numpy\nbody, _ = bodies.encode('grpc', [Tensor('x', 'FP32', numpy.zeros((1, 2), 'f4'))])\n"
        "print(bodies.request('grpc', body).signature, 'kserve' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "x:FP32[N,2] False"


@given(tensors())
def test_raw_bytes_and_tensors_are_the_same_thing(tensor):
    assert same([tensor], [from_raw(tensor.name, tensor.datatype, tensor.data.shape, to_raw(tensor))])


@pytest.mark.parametrize("extra", [-1, 1])
@given(tensor=tensors(shapes=st.just([2, 3])))
def test_raw_bytes_of_the_wrong_length_are_refused(extra, tensor):
    raw = to_raw(tensor)
    with pytest.raises(SampleError, match=r"needs|are not"):
        from_raw(tensor.name, tensor.datatype, [2, 3], raw + b"\0" if extra > 0 else raw[:-1])


@pytest.mark.parametrize("datatype", DATATYPES)
def test_types_and_dtypes_match_one_to_one(datatype):
    assert datatype_of(to_dtype(datatype)) == datatype
    in_its_name = re.search(r"\d+$", datatype)
    assert element_size(datatype) == (int(in_its_name[0]) // 8 if in_its_name else {"BOOL": 1, "BYTES": None}[datatype])


@given(NAMES)
def test_a_tensor_refuses_data_of_another_type(name):
    with pytest.raises(SampleError, match="FP32 needs"):
        Tensor(name, "FP32", np.zeros(1))


def test_a_binary_body_with_too_much_or_too_little_behind_its_json_is_refused():
    body, headers = encode("v2-binary", [Tensor("x", "FP32", np.zeros(2, np.float32))])
    for broken in (body[:-1], body + b"\0"):
        with pytest.raises(SampleError, match="declare 8 bytes"):
            decode("v2-binary", broken, headers)
