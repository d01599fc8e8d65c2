"""Private content taken out of requests of every protocol before they are stored."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import requests_of

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode, encode, request
from kserve_warmup.protocols.infer_message import model_infer_request
from kserve_warmup.protocols.tensors import BYTES, Tensor, bytes_array
from kserve_warmup.samples import Sample, SampleSet
from kserve_warmup.sampling.scrub.scrubber import KEY, Rule, Scrubber
from kserve_warmup.sampling.scrub.scrubbing import Scrubbing, merged

PROTOCOLS = ("v1", "v2", "v2-binary", "grpc")
INPUTS = [
    Tensor("text", BYTES, bytes_array([b"Anna 7", b"Zo\xc3\xab, 1234"], (2, 1))),
    Tensor("age", "INT64", np.array([[34], [51]])),
    Tensor("score", "FP64", np.array([[0.5], [2.5]])),
]
CHAT = (
    b'{"model":"m","messages":[{"role":"user","content":"I am Anna"},'
    b'{"role":"user","content":[{"type":"text","text":"hi"}]}]}'
)


@pytest.fixture
def rules(tmp_path):
    """Make a scrubber of rules."""

    def _rules(*rules: dict, strict: bool = False) -> Scrubber:
        file = tmp_path / "rules.yaml"
        file.write_text(json.dumps({"strict": strict, "rules": rules}))  # JSON is YAML
        return Scrubber.load([file])

    return _rules


def made(protocol: str, inputs=INPUTS, **more) -> Sample:
    body, headers = encode(protocol, inputs, **more)
    return request(protocol, body, headers=headers)


def tensors(sample: Sample) -> dict[str, list]:
    return {t.name: t.data.tolist() for t in decode(sample.protocol, sample.body, sample.headers)}


def of_kind(old: bytes, new: bytes) -> bool:
    """Whether letters stand for letters, digits for digits, and all else is the same."""
    pairs = list(zip(old.decode(), new.decode(), strict=True))
    alike = all((a.isalpha(), a.isdigit(), a.isupper()) == (b.isalpha(), b.isdigit(), b.isupper()) for a, b in pairs)
    return len(old) == len(new) and alike and all(a == b for a, b in pairs if not a.isalnum())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_input_is_replaced_over_every_protocol_and_the_others_stay(rules, protocol):
    scrubbed = rules(
        {"input": "text", "action": "replace", "value": "x"}, {"input": "age", "action": "replace", "value": 1}
    )(made(protocol))
    assert tensors(scrubbed) == {"text": [[b"x"], [b"x"]], "age": [[1], [1]], "score": [[0.5], [2.5]]}
    assert (scrubbed.signature, scrubbed.batch) == (made(protocol).signature, 2)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_noise_keeps_types_shapes_lengths_and_ranges_and_shows_no_value(rules, protocol):
    noise = rules(*({"input": name, "action": "noise"} for name in ("text", "age", "score")))
    scrubbed = noise(made(protocol))
    found = tensors(scrubbed)
    assert scrubbed.signature == made(protocol).signature
    assert all(of_kind(old, row[0]) for old, row in zip((b"Anna 7", b"Zo\xc3\xab, 1234"), found["text"], strict=True))
    assert all(0 <= row[0] <= 51 and isinstance(row[0], int) for row in found["age"])
    assert all(0 <= row[0] <= 2.5 for row in found["score"])
    assert found["text"][0] != [b"Anna 7"]
    assert found["text"][1] != [b"Zo\xc3\xab, 1234"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_hashes_are_equal_for_equal_values_over_protocols_and_keep_the_length(rules, protocol, monkeypatch):
    monkeypatch.setenv(KEY, "secret")
    hashing = rules({"input": "text", "action": "hash"}, {"input": "age", "action": "hash"})
    found = tensors(hashing(made(protocol)))
    assert found == tensors(hashing(made("v2")))
    assert [len(row[0]) for row in found["text"]] == [6, 10]
    assert all(10 <= row[0] <= 99 and row[0] not in (34, 51) for row in found["age"])
    assert b"Anna" not in hashing(made(protocol)).body


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_dropped_input_is_gone_and_the_rest_can_be_sent(rules, protocol):
    scrubbed = rules({"input": "text", "action": "drop"})(made(protocol))
    assert tensors(scrubbed) == {"age": [[34], [51]], "score": [[0.5], [2.5]]}
    assert [i.name for i in scrubbed.signature.inputs] == ["age", "score"]


@given(requests_of(names=st.sampled_from("abcd")))
def test_a_request_that_no_rule_touches_stays_byte_for_byte_and_any_tensor_can_take_noise(inputs):
    scrubber = Scrubber.load(["strict"])
    other = Scrubber((), strict=False, key=b"k")
    noise = Scrubber(tuple(Rule(input=name, action="noise") for name in "abcd"), strict=True, key=b"k")
    for protocol in ("v2-binary", "grpc"):
        sample = made(protocol, inputs)
        assert other(sample) is sample
        if any(t.datatype == BYTES for t in inputs):
            with pytest.raises(SampleError, match="scrub strict"):
                scrubber(sample)
        scrubbed = noise(sample)
        assert (scrubbed.signature, scrubbed.batch) == (sample.signature, sample.batch)
        assert noise(sample) == scrubbed
        decode(protocol, scrubbed.body, scrubbed.headers)


def test_what_the_protocol_itself_needs_is_no_private_text():
    content_type = '"parameters":{"content_type":"np"}'
    tensor = f'{{"name":"x","shape":[1],"datatype":"FP32",{content_type},"data":[1]}}'
    v2 = f'{{{content_type},"inputs":[{tensor}],"outputs":[{{"name":"y"}}]}}'
    for sample in (request("v2", v2.encode()), request("v1", b'{"signature_name":"s","instances":[1]}')):
        assert Scrubber.load(["strict"])(sample) is sample


def test_a_json_path_reaches_what_no_input_name_does(rules):
    body = b'{"instances":[{"x":1,"who":{"name":"Anna"}},{"x":2}],"parameters":{"user":"anna@x.org","n":1}}'
    paths = rules(
        {"path": "$.instances[*].who.name", "action": "hash"},
        {"path": "$.parameters.user", "action": "drop"},
        {"path": "$..x", "action": "replace", "value": 9},
    )
    found = json.loads(paths(request("v1", body)).body)
    name = found["instances"][0]["who"].pop("name")
    assert (len(name), name != "Anna") == (4, True)
    assert found == {"instances": [{"x": 9, "who": {}}, {"x": 9}], "parameters": {"n": 1}}


@pytest.mark.parametrize("protocol", ["v2", "v2-binary", "grpc"])
def test_a_request_id_can_be_hashed_in_every_protocol(rules, protocol):
    sample = made(protocol, request_id="anna-17")
    scrubbed = rules({"path": "$.id", "action": "hash"})(sample)
    assert b"anna-17" in sample.body
    assert b"anna-17" not in scrubbed.body
    assert tensors(scrubbed) == tensors(sample)


def test_parameters_of_a_grpc_message_and_of_its_inputs_are_reached(rules):
    message = model_infer_request().FromString(made("grpc", INPUTS[1:]).body)
    message.parameters["user"].string_param = "anna"
    message.parameters["priority"].int64_param = 3
    message.inputs[0].parameters["origin"].string_param = "Berlin"
    sample = request("grpc", message.SerializeToString())
    for path in ("$.parameters.user", "$.inputs[*].parameters.origin"):
        with pytest.raises(SampleError, match="holds text"):
            rules({"path": path, "action": "drop"}, strict=True)(sample)
    both = rules(
        {"path": "$.parameters.user", "action": "drop"},
        {"path": "$.inputs[*].parameters.origin", "action": "hash"},
        strict=True,
    )
    found = model_infer_request().FromString(both(sample).body)
    assert dict(found.parameters) == {"priority": message.parameters["priority"]}
    assert len(found.inputs[0].parameters["origin"].string_param) == 6
    assert b"anna" not in both(sample).body
    assert b"Berlin" not in both(sample).body
    with pytest.raises(SampleError, match="drop it with"):
        rules({"path": "$.inputs[0]", "action": "drop"})(sample)


def test_nested_text_and_base64_in_v1_and_chat_messages_are_reached(rules):
    noise = rules({"input": "instances", "action": "noise"}, {"input": "messages", "action": "noise"}, strict=True)
    assert b"Anna" not in noise(request("openai", CHAT)).body
    assert json.loads(noise(request("openai", CHAT)).body)["model"] == "m"
    scrubbed = noise(request("v1", b'{"instances":[["Anna", 1.5], [{"b64":"AAH/"}, null]]}'))
    first, second = json.loads(scrubbed.body)["instances"]
    assert first[0] != "Anna"
    assert second[0] != {"b64": "AAH/"}
    assert (len(second[0]["b64"]), second[1]) == (4, None)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_strict_refuses_text_without_a_rule_and_names_it_but_not_its_content(rules, protocol):
    strict = rules({"input": "age", "action": "noise"}, strict=True)
    with pytest.raises(SampleError, match=r"text.*add a rule") as caught:
        strict(made(protocol))
    assert "Anna" not in str(caught.value)
    assert rules({"input": "text", "action": "hash"}, strict=True)(made(protocol))
    assert Scrubber.load(["strict"])(made(protocol, INPUTS[1:])) == made(protocol, INPUTS[1:])


@pytest.mark.parametrize("protocol", ["v2", "v2-binary", "grpc"])
def test_strict_refuses_an_id_without_a_rule(protocol):
    with pytest.raises(SampleError, match=r"\$\.id"):
        Scrubber.load(["strict"])(made(protocol, INPUTS[1:], request_id="anna"))


def test_without_a_key_no_two_runs_hash_alike_and_with_one_they_do(rules, monkeypatch):
    rule = {"input": "text", "action": "hash"}
    assert rules(rule)(made("v2")) != rules(rule)(made("v2"))
    monkeypatch.setenv(KEY, "secret")
    assert rules(rule)(made("v2")) == rules(rule)(made("v2"))


def test_a_scrubbed_set_holds_nothing_private_on_disk_and_tells_its_rules(rules, tmp_path):
    run = Scrubbing(rules({"input": "text", "action": "replace", "value": "PRIVATE"}, strict=True))
    stored = merged(run(made(p).with_weight(0.25)) for p in PROTOCOLS)
    run.check()
    SampleSet("m", tuple(s for s, _ in stored), selection=run.facts(stored)).save(tmp_path / "set")
    written = b"".join(p.read_bytes() for p in (tmp_path / "set").rglob("*") if p.is_file())
    assert b"Anna" not in written
    opened = SampleSet.open(tmp_path / "set")
    assert opened.selection == {
        "scrub": [{"rule": "text: replace", "requests": 4, "places": 5}],  # v1 has a place in each of its two rows
        "strict": True,
    }
    assert "PRIVATE" not in (tmp_path / "set" / "manifest.json").read_text()


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"action": "drop"}, "either an input or a path"),
        ({"input": "a", "path": "$.a", "action": "drop"}, "either an input or a path"),
        ({"input": "a", "action": "replace"}, "replace needs a value"),
        ({"input": "a", "action": "noise", "value": 1}, "replace needs a value"),
        ({"path": "$.a[", "action": "drop"}, "is no JSON path"),
        ({"input": "a", "action": "mask"}, "action"),
        ({"input": "a", "action": "drop", "salt": 1}, "salt"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_in_one_line(rules, rule, reason):
    with pytest.raises(SampleError, match=reason) as caught:
        rules(rule)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"- a\n- b", b"a: [", b"", b"\xff"])
def test_a_file_that_holds_no_rules_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "rules").write_bytes(content)
    for file in ("rules", "missing"):
        with pytest.raises(SampleError, match="scrub rules") as caught:
            Scrubber.load([tmp_path / file])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"input": "score", "action": "hash"}, "input 'score': hash works on text and integers"),
        ({"input": "age", "action": "replace", "value": "x"}, "input 'age'"),
        ({"input": "text", "action": "replace", "value": 1}, "input 'text'"),
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_rule_that_does_not_fit_its_input_says_which(rules, rule, reason, protocol):
    with pytest.raises(SampleError, match=reason):
        rules(rule)(made(protocol))


def test_no_options_are_no_scrubber():
    assert Scrubber.load([]) is None
