"""What a person calls a stratum: no two signatures share a name, since reports and metrics have one entry a name."""

import json

import numpy as np
import pytest

from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.replay import replay
from kserve_warmup.samples.sample import Signature, TensorSpec
from kserve_warmup.settings import WarmupSettings


def test_the_batch_is_named_where_there_is_one_and_only_there():
    image, scalar = TensorSpec("image", "FP32", (64,)), TensorSpec("x", "FP32", ())
    assert str(Signature((image,))) == "image:FP32[N,64]"
    assert str(Signature((image,), batched=False)) == "image:FP32[64]"
    assert str(Signature((scalar,))) == "x:FP32[N]"
    assert str(Signature((scalar,), batched=False)) == "x:FP32[]"
    assert str(Signature((TensorSpec("ids", "INT64", (-1,)),))) == "ids:INT64[N,-1]"
    assert str(Signature((image, scalar))) == "image:FP32[N,64] x:FP32[N]"
    assert str(Signature(())) == ""


@pytest.mark.parametrize(
    ("protocol", "document", "name"),
    [
        ("v1", {"instances": [[1.5, 2.5]]}, "instances:FP64[N,2]"),
        ("v1", {"instances": [1, 2]}, "instances:INT64[N]"),
        ("v1", {"instances": [[1, 2], [3]]}, "instances:INT64[N,-1]"),
        ("v1", {"instances": [{"a": 1}, {"b": 1}]}, "instances:JSON[N]"),
        ("v1", {"inputs": {"a": [[1], [2]], "b": 7}}, "a:INT64[2,1] b:INT64[]"),
        ("v2", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 3], "data": [0] * 6}]}, "x:FP32[N,3]"),
        ("v2", {"inputs": [{"name": "x", "datatype": "FP32", "shape": [], "data": [0]}]}, "x:FP32[]"),
        ("openai", {"messages": [{"role": "user", "content": "hi there"}]}, "chat:BYTES[N,8]"),
        ("openai", {"prompt": ["a", "b"], "stream": True}, "completion:BYTES[N,1]"),
        ("openai", {"input": "abc"}, "embedding:BYTES[N,4]"),
    ],
)
def test_every_protocol_s_requests_have_such_a_name(protocol, document, name):
    assert str(request(protocol, json.dumps(document).encode()).signature) == name


@pytest.mark.parametrize("protocol", ["v2", "v2-binary", "grpc"])
def test_rows_of_their_own_and_one_array_without_rows_are_told_apart_on_every_v2_wire(protocol):
    def named(*shapes):
        tensors = [Tensor(n, "FP32", np.zeros(s, np.float32)) for n, s in zip("xy", shapes, strict=False)]
        body, headers = encode(protocol, tensors)
        return str(request(protocol, body, headers=headers).signature)

    assert named((1, 2), (1, 3)) == "x:FP32[N,2] y:FP32[N,3]"
    assert named((2,), (3,)) == "x:FP32[2] y:FP32[3]"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x:FP32[N] y", '"x:FP32[N] y":FP32[N]'),
        ('"x', '"\\"x":FP32[N]'),
        ("serving_default_x:0", "serving_default_x:0:FP32[N]"),
        ("petal length (cm)", "petal length (cm):FP32[N]"),
    ],
)
def test_a_name_made_up_to_look_like_others_is_quoted(name, shown):
    assert str(Signature((TensorSpec(name, "FP32", ()),))) == shown


class Answers:
    name = "rest"

    async def send(self, _):
        return 0.001


async def test_two_strata_that_differ_in_nothing_but_the_batch_have_entries_of_their_own():
    batched = json.dumps({"inputs": {"a": [[1, 2]], "b": [[3]]}}).encode()
    plain = json.dumps({"inputs": {"a": [1, 2], "b": [3]}}).encode()
    samples = [request("v1", body).with_weight(0.5) for body in (batched, plain)]
    settings = WarmupSettings(max_calls=3)
    once = await replay(samples, Answers(), settings, "m")
    again = await replay(samples, Answers(), settings, "m")
    both = once.then(again)
    assert [s.signature for s in both.strata] == ["a:INT64[N,2] b:INT64[N,1]", "a:INT64[2] b:INT64[1]"]
    assert both.calls == once.calls + again.calls
    assert both.coverage + both.unsteady == pytest.approx(1)
