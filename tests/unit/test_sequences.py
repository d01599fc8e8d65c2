"""Whole sequences of recorded steps, the ids that they get, and what becomes of one that breaks."""

from __future__ import annotations

import asyncio
import json
from itertools import count

import numpy as np
import pytest

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.as_message import as_message
from kserve_warmup.protocols.bodies import Tensor, decode, encode, parse, request
from kserve_warmup.protocols.protobuf_fields import infer_request
from kserve_warmup.protocols.steps import as_step, correlation_id
from kserve_warmup.replay import NoAnswerError, RequestFailedError, RequestRefusedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.strata import share
from kserve_warmup.transports.model_kind import ModelKind
from kserve_warmup.transports.sequences import Sequences, closes, opens, send_sequence

KIND = ModelKind(sequence="TYPE_UINT64")
NUMBERS = count()


def step(protocol="v2", width=2, weight=1.0, **parameters) -> Sample:
    tensor = Tensor("x", "FP32", np.full((1, width), next(NUMBERS), np.float32))
    body, headers = encode(protocol, [tensor])
    made = request(protocol, body, headers=headers, weight=weight)
    if not parameters:
        return made
    made = as_step(made, parameters.pop("id", 7), **{"start": False, "end": False, **parameters})
    return request(protocol, made.body, headers=made.headers, weight=weight)


def parts(steps) -> list[tuple[bool, bool]]:
    return [(opens(s), closes(s)) for s in steps]


@pytest.mark.parametrize("protocol", ["v2", "v2-binary", "grpc"])
@pytest.mark.parametrize("name", [1 << 62, "a-name"])
def test_a_step_carries_its_sequence_and_its_flags_and_nothing_else_changes(protocol, name):
    before = step(protocol)
    after = as_step(as_step(before, 5, start=True, end=True), name, start=False, end=True)

    assert correlation_id(before) is None
    assert correlation_id(after) == name
    recorded = request(protocol, after.body, headers=after.headers)
    assert (opens(recorded), closes(recorded)) == (False, True)
    (was,), (now,) = (decode(protocol, s.body, s.headers) for s in (before, after))
    assert np.array_equal(was.data, now.data)


def test_other_parameters_of_a_step_stay():
    body = {"inputs": json.loads(step().body)["inputs"], "parameters": {"priority": 3, "sequence_id": 1}}
    after = as_step(request("v2", json.dumps(body).encode()), 9, start=True, end=False)
    assert json.loads(after.body)["parameters"] == {
        "priority": 3, "sequence_id": 9, "sequence_start": True, "sequence_end": False,
    }  # fmt: skip


def test_a_step_from_the_middle_opens_and_closes_its_own_sequence_where_nothing_else_was_recorded():
    one = step(id=7)
    sequences = Sequences([one])
    steps = sequences.of(one)

    assert {s.id for s in steps} == {one.id}
    assert parts(steps) == [(True, False), (False, False), (False, False), (False, True)]
    assert sorted(parts(sequences.samples)) == sorted({*parts(steps)})
    assert share(sequences.samples) == share([one])  # what was made stands for no traffic
    assert all(sequences.of(s) == steps for s in sequences.samples)
    assert len(sequences.distinct) == len(sequences.apart) == 1


def test_recorded_steps_of_the_same_sequence_go_together_then_those_of_the_same_shape():
    others = step(id=1, start=True), step(id=1), step(id=1, end=True)
    start, middle, further, end = step(id=7, start=True), step(id=7), step(id=7), step(id=7, end=True)
    wide = step(id=3, width=9)
    sequences = Sequences([*others, wide, end, further, middle, start])

    assert sequences.of(middle) == sequences.of(further) == (start, further, middle, end)
    assert sequences.of(start) == (start, further, middle, end)
    opening, *between, closing = sequences.of(wide)
    assert (opening, closing) == (others[0], others[2])  # of no other is more known than that it opens
    assert between == [wide, wide]


def test_a_sequence_of_one_step_stays_one_and_what_is_no_step_stays_alone():
    alone = step(start=True, end=True)
    plain = request("v1", b'{"text_input": "hi"}', path="/v2/models/m/generate")
    sequences = Sequences([alone, plain])
    assert sequences.of(alone) == (alone,)
    assert sequences.of(plain) == ()
    assert set(sequences.samples) == set(sequences.apart) == {alone, plain}


class Server:
    """Takes steps as Triton's batcher does, and fails at one of them."""

    def __init__(self, fails_at=None, error=RequestFailedError):
        self.open, self.seen, self.begun = set(), [], asyncio.Event()
        self.fails_at, self.error = fails_at, error

    async def send(self, sample):
        flags = request("v2", sample.body)
        name = correlation_id(sample)
        self.seen.append(name)
        if opens(flags):
            self.open.add(name)
            self.begun.set()
        elif name not in self.open:
            raise RequestRefusedError("must specify the START flag")
        if closes(flags):
            self.open.discard(name)
        await asyncio.sleep(0)
        if len(self.seen) == self.fails_at:
            raise self.error("no")
        return float(len(self.seen))


def sent(server, wanted=1, kind=KIND):
    one = step(id=7)
    steps = Sequences([one]).of(one)
    return asyncio.run(send_sequence(steps, steps[wanted], kind, server.send))


def test_the_latency_is_that_of_the_step_that_is_wanted_and_each_sequence_has_an_id_of_its_own():
    server = Server()
    assert [sent(server, wanted) for wanted in (0, 1, 3)] == [1, 6, 12]
    assert len(set(server.seen)) == 3
    assert 7 not in server.seen


@pytest.mark.parametrize("fails_at", [1, 2, 4])
@pytest.mark.parametrize("error", [RequestFailedError, RequestRefusedError, NoAnswerError])
def test_a_sequence_is_closed_wherever_it_breaks_and_the_step_is_named(fails_at, error):
    server = Server(fails_at, error)
    with pytest.raises(error, match=rf"step {fails_at} of 4 of its sequence \(.*\): no"):
        sent(server)
    assert not server.open


def test_a_sequence_is_closed_when_its_warm_up_is_cancelled():
    server = Server()
    one = step(id=7)
    steps = Sequences([one]).of(one)

    async def cancelled():
        sending = asyncio.ensure_future(send_sequence(steps, one, KIND, server.send))
        await server.begun.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(cancelled())
    assert server.seen
    assert not server.open


@pytest.mark.parametrize(
    ("kind", "least", "below"),
    [("TYPE_INT32", 1 << 30, 1 << 31), ("TYPE_UINT32", 1 << 31, 1 << 32), ("TYPE_UINT64", 1 << 62, 1 << 63)],
)
def test_fresh_ids_are_of_the_upper_half_that_the_type_has(kind, least, below):
    found = {ModelKind(sequence=kind).fresh_id() for _ in range(200)}
    assert len(found) == 200
    assert min(found) >= least
    assert max(found) < below


def test_fresh_ids_are_text_where_the_model_wants_text():
    assert str(ModelKind(sequence="TYPE_STRING").fresh_id()).startswith("kserve-warmup-")


@pytest.mark.parametrize("protocol", ["v2", "v2-binary"])
def test_a_request_over_rest_asks_for_the_same_as_a_message(protocol):
    tensor = Tensor("x", "FP32", np.arange(4, dtype=np.float32).reshape(2, 2))
    body, headers = encode(protocol, [tensor], request_id="9")
    parsed = parse(protocol, body, headers)
    parsed.document["parameters"] = {"priority": 2, "binary_data_output": True, "name": "x", "share": 0.5, "on": True}
    parsed.document["outputs"] = [{"name": "y", "parameters": {"classification": 3, "binary_data": True}}]
    body, headers = parsed.written()
    made = request(protocol, body, headers=headers, path="/v2/models/m/versions/2/infer")
    message = infer_request(as_message(made).body)

    (back,) = decode("grpc", message.SerializeToString(), {})
    assert np.array_equal(back.data, tensor.data)
    assert (message.id, message.model_version) == ("9", "2")
    assert {name: getattr(p, p.WhichOneof("parameter_choice")) for name, p in message.parameters.items()} == {
        "priority": 2, "name": "x", "share": 0.5, "on": True,
    }  # fmt: skip
    assert [o.name for o in message.outputs] == ["y"]
    assert message.outputs[0].parameters["classification"].int64_param == 3
    assert "binary_data" not in message.outputs[0].parameters


def test_a_parameter_without_a_form_in_messages_is_named():
    body = {"inputs": json.loads(step().body)["inputs"], "parameters": {"what": [1]}}
    with pytest.raises(SampleError, match="'what' is list"):
        as_message(request("v2", json.dumps(body).encode()))
