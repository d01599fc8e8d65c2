"""Which requests are alike for a server: what chooses another path through it, and names that say nothing."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest

from kserve_warmup.errors import SampleError, TritonConfigError
from kserve_warmup.gate.bursts import for_bursts
from kserve_warmup.protocols.bodies import request
from kserve_warmup.samples import strata
from kserve_warmup.samples.sample import Sample, Stratum
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.samples.strata import by_stratum, share
from kserve_warmup.sampling.digest import Digest, Job
from kserve_warmup.sampling.export import perf_analyzer_data
from kserve_warmup.sampling.formats import lines
from kserve_warmup.sampling.formats.record import Part
from kserve_warmup.sampling.reader import sample_traffic
from kserve_warmup.sampling.select import Limits, choose, select
from kserve_warmup.triton.create import minimal_config
from kserve_warmup.triton.render import Templates

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]}


def openai(**fields) -> Sample:
    return request("openai", json.dumps(CHAT | fields).encode())


def v2(parameters, *names) -> Sample:
    inputs = [X | {"name": name} for name in names or ("x",)]
    return request("v2", json.dumps({"inputs": inputs, "parameters": parameters}).encode())


def grpc(version="", **flags) -> Sample:
    message = ModelInferRequest(model_version=version)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(b"\0\0\0\0")
    for name, value in flags.items():
        setattr(message.parameters[name], "string_param" if isinstance(value, str) else "bool_param", value)
    return request("grpc", message.SerializeToString(deterministic=True))


def keyed(name: str, value: float = 1.5, width: int = 2) -> Sample:
    """A v1 request with one instance, whose only input has a name that the client chose."""
    return request("v1", json.dumps({"instances": [{name: [value] * width}]}).encode())


def words(sample: Sample) -> str:
    return sample.stratum.words.replace("model=m", "").strip()


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (request("v1", b'{"instances": [1]}'), ""),
        (request("v1", b'{"instances": [1], "signature_name": "serving_default"}'), ""),
        (request("v1", b'{"instances": [1], "signature_name": "decode"}'), "signature_name=decode"),
        (request("v1", b'{"instances": [1], "signature_name": "a b"}'), 'signature_name="a b"'),
        (request("v1", b'{"instances": [1]}', path="/v1/models/m:explain"), "explain"),
        (request("v1", b'{"instances": [1]}', path="/v1/models/m/versions/3:predict"), "version=3"),
        (v2({"sequence_id": 7, "sequence_start": True}), "sequence_start"),
        (v2({"sequence_id": 8, "sequence_end": True, "sequence_start": False}), "sequence_end"),
        (v2({"sequence_id": 9}), ""),
        (v2({"lora_name": "tuned"}), "lora=tuned"),
        (grpc(sequence_start=True, sequence_end=True), "sequence_end sequence_start"),
        (grpc(version="2", lora_name="tuned"), "lora=tuned version=2"),
        (openai(), ""),
        (openai(stream=True), "stream"),
        (openai(stream=False, logprobs=False, tools=[], response_format={"type": "text"}), ""),
        (openai(response_format={"type": "json_schema", "json_schema": {"name": "p"}}), "response_format=json_schema"),
        (openai(text={"format": {"type": "json_object"}}), "response_format=json_object"),
        (openai(guided_regex="[a-z]+"), "response_format=guided_regex"),
        (openai(tools=[{"type": "function"}]), "tools=auto"),
        (openai(tools=[{"type": "function"}], tool_choice="required"), "tools=required"),
        (openai(tools=[{"type": "function"}], tool_choice={"type": "function"}), "tools=named"),
        (openai(logprobs=True, top_logprobs=3), "logprobs"),
        (request("openai", b'{"prompt": "a", "logprobs": 0}'), "logprobs"),
        (openai(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]), "media=image"),
        (request("openai", json.dumps(CHAT).encode(), path="/v1/responses"), "v1/responses"),
    ],
)
def test_what_takes_another_path_through_a_server_is_told(sample, told):
    assert words(sample) == told


@pytest.mark.parametrize("value", [None, 7, ["a"], {"a": 1}, "", True])
def test_a_fact_that_no_server_takes_for_one_is_no_fault(value):
    fields = ("model", "response_format", "tools", "tool_choice", "messages", "text", "stream", "lora_name")
    for name in fields:
        body = CHAT | {name: value}
        assert request("openai", json.dumps(body).encode()).stratum.protocol == "openai"
    request("v1", json.dumps({"instances": [1], "signature_name": value}).encode())
    request("v2", json.dumps({"inputs": [X], "parameters": value}).encode())


def test_a_very_long_value_is_cut_and_still_tells_two_apart(tmp_path):
    first, second = (
        request("v1", json.dumps({"instances": [1], "signature_name": "é" * 9000 + x}).encode()) for x in "ab"
    )
    assert first.stratum != second.stratum
    assert len(str(first.stratum)) < 200
    assert SampleSet.open(SampleSet("m", (first, second)).save(tmp_path / "set")).samples[0].variant


def test_rare_signatures_and_formats_of_answers_have_their_samples(tmp_path):
    def line(i: int) -> str:
        wanted = {"response_format": {"type": "json_schema"}} if i % 20 == 0 else {}
        chat = CHAT | {"messages": [{"role": "user", "content": f"Person {i:04}"}]} | wanted
        return json.dumps({"path": "/v1/chat/completions", "body": chat})

    signed = [
        json.dumps({"signature_name": "encode" if i % 20 else "decode", "instances": [[i / 8, 0.5]]})
        for i in range(400)
    ]
    for name, written in (("signed", signed), ("chats", [line(i) for i in range(400)])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(written))
        made, _ = sample_traffic([tmp_path / f"{name}.jsonl"], "m")
        opened = SampleSet.open(made.save(tmp_path / name))
        shares = {stratum.words: share(group) for stratum, group in by_stratum(opened).items()}
        if name == "signed":
            assert shares == {
                "signature_name=encode": pytest.approx(0.95),
                "signature_name=decode": pytest.approx(0.05),
            }
        else:
            assert shares == {"": pytest.approx(0.95), "response_format=json_schema": pytest.approx(0.05)}


def test_a_model_s_name_tells_strata_apart_where_the_traffic_has_several():
    one = select([openai(), openai(stream=True)], "m")
    assert {s.variant for s in one} == {(), (("stream", "true"),)}
    two = select([openai(), openai(model="tuned")], "m")
    assert {s.stratum.words for s in two} == {"model=m", "model=tuned"}


def test_groups_come_in_order_of_their_share_and_each_keeps_its_order():
    samples = [keyed("a", 1.5).with_weight(0.1), keyed("b").with_weight(0.5), keyed("a", 2.5).with_weight(0.2)]
    assert [[s.id for s in group] for group in by_stratum(samples).values()] == [
        [samples[1].id],
        [samples[0].id, samples[2].id],
    ]


@pytest.mark.parametrize("count", [20, 400, 2000])
def test_inputs_named_after_users_make_one_stratum(count):
    made = select([keyed(f"user-{i * 7919}", i + 0.5) for i in range(count)], "m")
    assert [str(stratum) for stratum in by_stratum(made)] == ["v1 *:FP64[N,2] batch 1"]
    assert made.selection["strata"] == 1
    assert len(made) == 3
    assert made.coverage == 1


def test_users_that_come_again_make_one_stratum_too_and_however_many_are_in_a_request():
    def several(i: int) -> Sample:
        rows = {f"user-{(i * k) % 300}": [k + 0.5, 1.5] for k in range(1, 2 + i % 5)}
        return request("v1", json.dumps({"inputs": rows}).encode())

    made = select([several(i) for i in range(600)], "m")
    assert {spec.name for s in made for spec in s.signature.inputs} == {"*"}
    assert made.selection["strata"] == 1


def test_a_name_that_all_requests_have_stays_beside_one_that_none_shares():
    made = select([v2({}, "image", f"input-{i:08x}") for i in range(50)], "m")
    assert {str(s.signature) for s in made} == {"*:FP32[N,2] image:FP32[N,2]"}


def test_columns_that_may_be_left_out_still_tell_strata_apart():
    names = [[n for k, n in enumerate("abcd") if mask >> k & 1] for mask in range(1, 16)]
    samples = [v2({}, *names[i % 15]) for i in range(60)]
    assert select(samples, "m", limits=Limits(per_stratum=1)).selection["strata"] == 15


def test_a_few_names_are_all_kept():
    assert select([keyed(name) for name in "abcdefgh"], "m").selection["strata"] == 8


def test_a_set_of_such_traffic_opens_as_it_was_saved(tmp_path):
    made = select([keyed(f"user-{i}", i + 0.5) for i in range(100)], "m")
    opened = SampleSet.open(made.save(tmp_path / "set"))
    assert opened == made
    assert len(by_stratum(opened)) == 1


NAMES = st.sampled_from(["image", "mask", "x"]) | st.integers(0, 999).map("user-{}".format)
KINDS = st.tuples(st.lists(NAMES, min_size=1, max_size=3, unique=True), st.integers(1, 2), st.integers(0, 3))


def named(names: list[str], width: int, value: int) -> Sample:
    return request("v1", json.dumps({"inputs": {name: [[value + 0.5] * width] for name in names}}).encode())


@settings(max_examples=40)
@given(st.lists(KINDS, min_size=1, max_size=40), st.integers(20, 400), st.randoms(), st.integers(1, 3))
def test_grouping_is_the_same_in_any_order_in_any_pieces_and_by_hand(tmp_path_factory, kinds, target, random, workers):
    samples = [named(*kind) for kind in kinds]
    file = Path(tmp_path_factory.mktemp("traffic"), "day.jsonl")
    file.write_bytes(b"\n".join(s.body for s in samples))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strata, "_FEW", 2)
        patch.setattr(strata, "_MANY", 5)
        patch.setattr(strata, "_MOST", 12)
        work = [("jsonl", part) for part in lines.split(str(file), target)]
        random.shuffle(work)
        merged = Digest(Job())
        for number in range(workers):
            merged.merge(Digest(Job()).read(work[number::workers]))
        whole = Digest(Job()).read([("jsonl", Part.whole(file))])
        random.shuffle(samples)
        by_hand = select(samples, "m")
        told = [
            {(c.stratum, c.kept.key): c.weight for c in choose(d.sketch, Limits()).requests} for d in (merged, whole)
        ]
        assert told[0] == told[1]
        shares: Counter[Stratum] = Counter()
        for (stratum, _), weight in told[0].items():
            shares[stratum] += weight
        assert {stratum: share(group) for stratum, group in by_stratum(by_hand).items()} == pytest.approx(shares)


def test_such_traffic_is_no_input_data_for_a_load_test_and_makes_no_configuration(tmp_path):
    made = select([v2({}, f"input-{i:08x}") for i in range(50)], "m")
    with pytest.raises(SampleError, match="no tensors that perf_analyzer could send"):
        perf_analyzer_data(made)
    with pytest.raises(TritonConfigError, match="--create needs recorded"):
        minimal_config("m", tmp_path, made, Templates())


def test_a_burst_is_of_one_stratum_of_each_way_through_the_server():
    signed = [
        request("v1", json.dumps({"instances": [[1.5]] * rows, "signature_name": name}).encode())
        for rows in (2, 1)
        for name in ("encode", "decode")
    ]
    assert {s.id for s in for_bursts(signed)} == {s.id for s in signed[2:]}


def test_whoever_answers_token_by_token_gets_no_bursts_and_all_others_do():
    image = request("raw", b"\x89PNG", headers={"content-type": "image/png"})
    chat = request("openai", json.dumps({"messages": [{"role": "user", "content": "Hi"}]}).encode())
    assert for_bursts([image, chat]) == (image,)
