"""Records with long bodies, read without parsing these: the same as parsing tells."""

from __future__ import annotations

import base64
import io
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kserve_warmup.sampling.formats import long_text
from kserve_warmup.sampling.formats.long_text import long_record, long_records

BODIES = st.binary(max_size=40).map(lambda body: base64.b64encode(body).decode())
TEXT = st.text(max_size=6) | st.sampled_from(['"bytes": "', "}", '"}', "\\", '{"bytes":"AA=="}'])
METADATA = st.recursive(TEXT, lambda inner: st.dictionaries(TEXT | st.just("bytes"), inner, max_size=2), max_leaves=4)
RECORDS = st.fixed_dictionaries({}, optional={"id": TEXT, "bytes": BODIES, "metadata": METADATA, "x": METADATA})
ORDERS = st.permutations(["id", "bytes", "metadata", "x"])


def plain(fields):
    """The fields with the long one as a string, and any others as JSON would have them."""
    return {name: bytes(v).decode() if isinstance(v, memoryview) else v for name, v in fields.items()}


def ordered(record, order):
    return {name: record[name] for name in order if name in record}


@given(RECORDS, ORDERS, st.sampled_from([None, 1]))
def test_a_record_is_read_as_json_reads_it_or_left_to_others(record, order, indent):
    text = json.dumps(ordered(record, order), indent=indent).encode()
    for stop in (len(text), None):
        found = long_record(text, 0, stop)
        assert found is None or (plain(found.fields), found.stop) == (record, len(text))


def test_the_usual_record_is_not_left_to_others():
    record = {"url": None, "bytes": "QUJD", "reqType": "request", "metadata": {"a": ["}"]}, "id": "1"}
    text = json.dumps(record).encode()
    found = long_record(text)
    assert found is not None
    assert isinstance(found.fields["bytes"], memoryview)
    assert found.stop == len(text)


@given(st.lists(st.tuples(RECORDS, ORDERS), max_size=6), st.integers(1, 50), st.sampled_from([None, 2]))
@example([({"bytes": "QUJD"}, ["bytes"])] * 3, 1, None)
def test_an_array_is_read_whole_wherever_its_chunks_end(records, chunk, indent):
    expected = [ordered(*each) for each in records]
    read = []
    rest = b""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(long_text, "_CHUNK", chunk)
        for item in long_records(io.BytesIO(json.dumps(expected, indent=indent).encode())):
            if isinstance(item, bytes):
                rest = item
            else:
                read.append(plain(item))
    assert read + json.loads(rest) == expected


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_an_array_that_is_cut_off_gives_what_it_has_and_leaves_the_rest(cut):
    whole = json.dumps([{"bytes": "QUJD", "id": str(number)} for number in range(4)]).encode()
    *read, rest = long_records(io.BytesIO(whole[:-cut]))
    assert [record["id"] for record in read] == ["0", "1", "2", "3"][: len(read)]
    assert len(read) >= 1
    with pytest.raises(json.JSONDecodeError):
        json.loads(rest)


def test_what_is_no_array_is_left_as_it_is():
    text = b'{"bytes": "QUJD"}'
    assert list(long_records(io.BytesIO(text))) == [text]
