"""Stand-ins for whole numbers, text and bytes: never the value itself, equal for equal ones, of the same kind."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import tensors

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import decode, encode, request
from kserve_warmup.protocols.tensors import Tensor, to_dtype
from kserve_warmup.samples.sample import DATATYPES
from kserve_warmup.sampling.scrub.permutation import SMALL, kind, stand_in
from kserve_warmup.sampling.scrub.pseudonyms import Pseudonyms
from kserve_warmup.sampling.scrub.scrubber import Rule, Scrubber

WHOLE = [name for name in DATATYPES if to_dtype(name).kind in "iu"]
KEYS = st.binary(min_size=1, max_size=64)


def limits_of(datatype: str) -> tuple[int, int]:
    return int(np.iinfo(to_dtype(datatype)).min), int(np.iinfo(to_dtype(datatype)).max)


def hashing(key: bytes = b"k") -> Scrubber:
    return Scrubber((Rule(input="x", action="hash"),), strict=False, key=key)


@pytest.mark.parametrize("datatype", ["INT8", "UINT8"])
def test_all_numbers_of_a_small_type_change_places(datatype):
    low, high = limits_of(datatype)
    found = [stand_in(b"k", value, (low, high)) for value in range(low, high + 1)]
    assert sorted(found) == list(range(low, high + 1))
    assert not any(old == new for old, new in zip(range(low, high + 1), found, strict=True))
    assert found != [stand_in(b"other", value, (low, high)) for value in range(low, high + 1)]


@pytest.mark.parametrize("low", [0, 10_000, -32_768, -99_999])
def test_all_numbers_of_a_kind_form_one_cycle(low):
    first = low
    low, high = kind(first)
    seen, value = 0, first
    while seen == 0 or value != first:
        value = stand_in(b"k", value)
        seen += 1
        assert low <= value <= high
    assert seen == high - low + 1
    assert seen <= SMALL or first in (10_000, -32_768, -99_999)


@given(st.data(), st.sampled_from(WHOLE), KEYS)
def test_a_number_of_any_type_gets_another_one_that_its_type_can_hold(data, datatype, key):
    low, high = limits_of(datatype)
    first, second = (data.draw(st.integers(low, high)) for _ in range(2))
    new = [stand_in(key, value, (low, high)) for value in (first, second)]
    assert all(low <= value <= high for value in new)
    assert first != new[0]
    assert (first == second) == (new[0] == new[1])
    assert new == [stand_in(key, value, (low, high)) for value in (first, second)]


@given(st.one_of(st.integers(), st.integers(min_value=-(10**300), max_value=10**300)), st.integers(), KEYS)
def test_a_number_without_a_type_keeps_its_sign_and_digits(value, other, key):
    new = stand_in(key, value)
    assert new != value
    assert (len(str(abs(new))), new < 0) == (len(str(abs(value))), value < 0)
    assert (stand_in(key, other) == new) == (other == value)


def test_numbers_at_the_ends_of_their_types_have_stand_ins_there():
    for edge in (2**63, 2**64, -(2**63), 10**18, 10**19, 10**20):
        for value in (edge - 1, edge, edge + 1):
            low, high = kind(value)
            assert low <= value <= high
            assert stand_in(b"k", value) in range(low, high + 1)
            assert (stand_in(b"k", value) < 2**63) == (value < 2**63)
    assert stand_in(b"k", 10**5000) >= 10**5000
    with pytest.raises(SampleError, match="not between -128 and 127"):
        stand_in(b"k", 128, (-128, 127))


@given(tensors(datatypes=WHOLE, names=st.just("x")))
def test_hashed_tensors_keep_type_and_shape_and_no_value_stays_at_its_place(tensor):
    hashed = {}
    for protocol in ("v2", "v2-binary", "grpc"):
        body, headers = encode(protocol, [tensor])
        scrubbed = hashing()(request(protocol, body, headers=headers))
        (hashed[protocol],) = decode(protocol, scrubbed.body, scrubbed.headers)
        assert (hashed[protocol].datatype, hashed[protocol].data.shape) == (tensor.datatype, tensor.data.shape)
        assert not (hashed[protocol].data == tensor.data).any()
        assert (hashed[protocol].data == hashed["v2"].data).all()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), KEYS)
def test_numbers_of_json_get_the_stand_ins_of_an_int64(values, key):
    scrubbed = hashing(key)(request("v1", json.dumps({"instances": [{"x": values}]}).encode()))
    found = json.loads(scrubbed.body)["instances"][0]["x"]
    assert found == [stand_in(key, value, limits_of("INT64")) for value in values]


def test_a_path_into_the_data_of_a_typed_input_keeps_to_its_type():
    rule = Rule(path="$.inputs[0].data[*]", action="hash")
    values = list(range(-128, 128))
    body, headers = encode("v2", [Tensor("x", "INT8", np.array(values, np.int8))])
    scrubbed = Scrubber((rule,), strict=False, key=b"k")(request("v2", body, headers=headers))
    (tensor,) = decode("v2", scrubbed.body, scrubbed.headers)
    assert sorted(tensor.data.tolist()) == values


def test_a_value_that_lies_inside_of_another_that_a_path_finds_is_hashed_once():
    rule = Rule(path="$.instances..*", action="hash")
    value: object = -5
    for _ in range(8):  # of nine negative digits, nine hashes lead back
        value = [value]
    scrubbed = Scrubber((rule,), strict=False, key=b"k")(request("v1", json.dumps({"instances": value}).encode()))
    assert b"-5" not in scrubbed.body


@given(st.text(min_size=1, max_size=3), KEYS)
def test_text_and_bytes_never_stay_as_they_were(text, key):
    for value in (text, text.encode(errors="surrogatepass"), b"\xff" + text.encode(errors="surrogatepass")):
        hashed = Pseudonyms(key, b"").hashed(value)
        assert hashed != value
        assert hashed == Pseudonyms(key, b"another record").hashed(value)
        assert type(hashed) is type(value)


def test_no_letter_is_its_own_stand_in():
    for letter in "0123456789abcdef":
        assert all(Pseudonyms(b"%d" % key, b"").hashed(letter) != letter for key in range(100))
    for byte in range(128, 256):
        assert Pseudonyms(b"k", b"").hashed(bytes([byte])) != bytes([byte])


@pytest.mark.parametrize("protocol", ["v1", "v2", "v2-binary", "grpc"])
@pytest.mark.parametrize("datatype", ["BOOL", "FP32"])
def test_what_a_hash_would_not_hide_is_refused_in_one_line(protocol, datatype):
    tensor = Tensor("x", datatype, np.array([[0.5], [0]], to_dtype(datatype)))
    body, headers = encode(protocol, [tensor])
    reason = "hash hides nothing of" if datatype == "BOOL" else "hash works on text and integers"
    with pytest.raises(SampleError, match=f"input 'x': {reason}") as caught:
        hashing()(request(protocol, body, headers=headers))
    assert "\n" not in str(caught.value)


def test_whole_numbers_in_a_tensor_of_floats_are_refused_as_they_are_in_binary():
    body = b'{"inputs":[{"name":"x","shape":[2],"datatype":"FP16","data":[60000,7]}]}'
    with pytest.raises(SampleError, match="not on FP16"):
        hashing()(request("v2", body))
