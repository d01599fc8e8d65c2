"""Bodies of any size up to the limit: what they hold is told piece by piece, or refused in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_place import DOCUMENTS, told

from kserve_warmup.errors import SampleError
from kserve_warmup.sampling import large_body, place
from kserve_warmup.sampling.digest import decoded
from kserve_warmup.sampling.formats.record import Record

V1 = b'{"instances": [[1, 2], [%s, 3]]}'
V2 = b'{"inputs": [{"name": "x", "shape": [2], "datatype": "FP32", "data": [1, %s]}]}'


@pytest.fixture
def small_pieces():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large_body, "LARGE", 0)
        patch.setattr(large_body, "_PIECE", 3)
        yield


@pytest.mark.usefixtures("small_pieces")
@given(DOCUMENTS, st.sampled_from([None, 1]), st.sampled_from([None, "v1", "v2", "openai"]))
def test_a_large_body_makes_the_request_that_parsing_it_at_once_makes(document, indent, protocol):
    record = Record("f", 1, json.dumps(document, indent=indent).encode(), protocol=protocol)

    def at_once(record):
        return place.parsed(record).sample(record.path)

    assert told(decoded, record) == told(at_once, record)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("number", [b"1-2", b"--1", b"1 2", b"01", b".5", b"1.", b"1e", b"1.2.3"])
@pytest.mark.parametrize("body", [V1, V2])
def test_what_is_no_number_is_found_in_a_large_body_too(number, body):
    with pytest.raises(SampleError, match="not JSON"):
        decoded(Record("f", 1, body % number))


def test_a_body_that_would_fill_the_memory_when_it_is_parsed_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(place, "MOST_VALUES", 100)
    placer = place.Placer()
    uneven = {"instances": [[1], *([1, 2] for _ in range(200))]}
    rows = {"instances": [{"x": 1}] * 200}
    texts = {"inputs": [{"name": "x", "shape": [200], "datatype": "BYTES", "data": ["a"] * 200}]}
    for document in (uneven, rows, texts):
        with pytest.raises(SampleError, match=r"some \d+ values besides even lists of numbers, more than 100"):
            placer.place(Record("f", 1, json.dumps(document).encode()))
    even = Record("f", 1, json.dumps({"instances": [[1, 2]] * 200}).encode())
    assert placer.place(even).batch == 200
    monkeypatch.setattr(large_body, "LARGE", 100)
    assert decoded(even).batch == 200
