"""The stratum of a request, told without parsing its numbers: the same as parsing all of it tells."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import requests_of

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols import nested, v1
from kserve_warmup.protocols.bodies import encode
from kserve_warmup.sampling import v1_rows
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.sampling.number_lists import list_shape
from kserve_warmup.sampling.place import Placer, bucketed, exact, without_numbers

NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
NESTED = st.recursive(st.lists(NUMBERS, max_size=3), lambda inner: st.lists(inner, max_size=3), max_leaves=12)
VALUES = st.recursive(
    NUMBERS | st.text(max_size=6) | st.booleans() | st.none() | st.sampled_from(['"data":[1,2]', "]}", '\\"data":[1']),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "x", "inputs"]), inner, max_size=2)
    ),
    max_leaves=8,
)
ITEMS = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "data", "é"]), "shape": st.just([2, 1]), "datatype": st.just("FP32"), "data": VALUES}
)
DOCUMENTS = st.one_of(
    st.fixed_dictionaries({"instances": NESTED | VALUES}, optional={"inputs": NESTED, "parameters": VALUES}),
    st.fixed_dictionaries({"inputs": st.lists(ITEMS, max_size=3) | NESTED}, optional={"id": st.text(max_size=3)}),
    st.fixed_dictionaries({"messages": VALUES}, optional={"data": NESTED, "stream": st.booleans()}),
    st.dictionaries(st.sampled_from(["data", "x", "input", "prompt"]), VALUES, max_size=3),
)


def told(tell, record):
    """What is told of a record, or that it is no request."""
    try:
        return tell(record)
    except SampleError:
        return None


@given(DOCUMENTS, st.sampled_from([None, 1]), st.sampled_from([None, "v1", "v2", "openai"]))
@example({"instances": [[1], []]}, None, None)
@example({"instances": [[5], [6]]}, None, None)
@example({"inputs": [1], "instances": [[2, 3]]}, None, None)
@example({"instances": [{"data": [1, 2]}, {"data": [3, 4]}]}, None, None)
def test_any_json_body_is_placed_as_parsing_it_whole_places_it(document, indent, protocol):
    record = Record("f", 1, json.dumps(document, indent=indent).encode(), protocol=protocol)
    assert told(Placer().place, record) == told(exact, record)


@given(st.data())
def test_every_protocol_is_placed_with_or_without_being_named(data):
    protocol = data.draw(st.sampled_from(["v1", "v2", "v2-binary", "grpc"]))
    try:
        body, headers = encode(protocol, data.draw(requests_of(finite=True, text=True)))
    except SampleError:
        return  # the protocol cannot carry such a tensor
    named = Record("f", 1, body, headers, protocol=protocol)
    placer = Placer()
    assert placer.place(named) == exact(named)
    unnamed = Record("f", 2, body)
    assert told(placer.place, unnamed) == told(exact, unnamed)


@given(NESTED)
def test_a_shape_is_told_by_brackets_and_commas_or_not_at_all(value):
    shape = list_shape(json.dumps(value).encode())
    inner = value
    for size in shape or ():
        assert len(inner) == size
        inner = inner[0]
    assert shape is None or not isinstance(inner, list)


def test_the_numbers_of_a_large_body_are_cut_out_before_anything_is_parsed():
    data = [0.125] * 10_000
    inputs = [{"name": n, "shape": [1, 10_000], "datatype": "FP32", "data": data} for n in "ab"]
    skeleton, cut = without_numbers(json.dumps({"inputs": inputs}).encode())
    assert json.loads(skeleton) == {"inputs": [item | {"data": []} for item in inputs]}
    assert [numbers.key for numbers in cut] == ["data", "data"]


def test_equal_strata_are_one_object_so_that_counting_them_is_cheap():
    placer = Placer()
    bodies = (json.dumps({"inputs": [{"name": "x", "shape": [1], "datatype": "INT32", "data": [i]}]}) for i in (1, 2))
    first, second = (placer.place(Record("f", 1, body.encode())) for body in bodies)
    assert first is second


@pytest.mark.parametrize("buckets", [False, True])
def test_buckets_round_free_lengths_up_and_leave_channels_and_batches_alone(buckets):
    placer = Placer(buckets=buckets)
    rows = [[[[0.5] * 3] * length] * 5 for length in (9, 12, 16, 17)]
    placed = {placer.place(Record("f", 1, json.dumps({"instances": row}).encode())) for row in rows}
    found = sorted((s.batch, s.signature.inputs[0].shape) for s in placed)
    assert found == ([(5, (16, 3)), (5, (32, 3))] if buckets else [(5, (n, 3)) for n in (9, 12, 16, 17)])
    assert all(bucketed(s) == s for s in placed) == buckets


@given(VALUES.filter(lambda value: isinstance(value, list)))
@example([[1], [2, 3]])
@example([[[1]], []])
@example([])
def test_plain_lists_have_the_shape_that_looking_at_each_element_tells(value):
    assert nested.plain_shape(value) in (None, nested.shape_of(value))


ROWS = st.dictionaries(st.sampled_from(["x", "y", "b64"]), st.just([1.5, 2]) | NESTED | VALUES, min_size=1, max_size=2)


@given(
    st.lists(ROWS | VALUES, min_size=1, max_size=3) | ROWS,
    st.integers(1, 3),
    st.fixed_dictionaries({}, optional={"signature_name": st.just("s"), "inputs": VALUES}),
    st.tuples(
        st.sampled_from(["instances", "inputs"]), st.sampled_from([None, "v1", "v2"]), st.sampled_from([None, 1])
    ),
)
@example([{"x": [1, 2], "y": ", ", ":[1] ": 3}], 1, {}, ("instances", None, None))
@example([{"x": [[1, 2.5], [3, 4]], "y": 'a":[1]'}], 2, {}, ("instances", None, 1))
@example([{"x": [1]}, {"x": [2.5]}, {"x": [1, 2]}], 1, {}, ("instances", None, None))
@example([{"x": [1]}], 1, {"inputs": [{"datatype": "INT64"}]}, ("instances", None, None))
@example({"x": [[1, 2]], "y": ["a"]}, 1, {}, ("inputs", "v1", None))
def test_rows_and_named_inputs_are_placed_as_parsing_them_whole_places_them(payload, times, more, how):
    key, name, indent = how
    document = more | {key: payload * times if isinstance(payload, list) else payload}
    record = Record("f", 1, json.dumps(document, indent=indent).encode(), protocol=name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v1_rows, "_WIDE", 0)
        assert told(Placer().place, record) == told(exact, record)


@pytest.mark.parametrize("text", ['{"instances":[{"x":[1],"x":[2,3]}]}', '{"inputs":{"a":1,"x":[1],"a":[2.5]}}'])
def test_keys_that_come_twice_are_read_as_json_reads_them(monkeypatch, text):
    monkeypatch.setattr(v1_rows, "_WIDE", 0)
    record = Record("f", 1, text.encode())
    assert Placer().place(record) == exact(record)


def test_wide_rows_are_placed_without_parsing_their_numbers():
    rows = [{"image": [[0.5] * 40] * 20, "text": "a", "age": age} for age in range(4)]
    found = v1_rows.rows_stratum(json.dumps({"instances": rows}).encode())
    assert str(found) == "v1 age:INT64[N] image:FP64[N,20,40] text:BYTES[N] batch 4"


@given(st.lists(ROWS | VALUES, max_size=3) | ROWS, st.integers(1, 3))
@example([{"b64": "AA=="}], 2)
@example([{"x": [1], "y": "a"}, {"y": "b", "x": [2.5]}], 1)
@example({"x": [[1, 2]], "y": [True]}, 1)
def test_inputs_of_plain_lists_have_the_signature_that_looking_at_each_element_tells(payload, times):
    body = v1.V1Body({"inputs": payload * times if isinstance(payload, list) else payload}, b"", {})
    found = told(v1.V1Body.signature, body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(v1, "_plain_shapes", lambda *_: None)
        assert found == told(v1.V1Body.signature, body)


def test_the_shape_of_a_large_v1_body_takes_no_look_at_each_row():
    assert nested.plain_shape([[[1.5] * 3] * 2] * 4) == ((4, 2, 3), frozenset([float]))
