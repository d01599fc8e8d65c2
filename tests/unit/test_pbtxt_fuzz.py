"""Configurations in every lexical style of protobuf's text format survive the merge byte for byte."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.pbtxt import merge, own_span, remove

BLOCK = 'model_warmup {\n  name: "it\'s \\"one\\" # {"\n  batch_size: 1\n}\n'

comments = st.binary(max_size=20).map(lambda raw: b"#" + raw.replace(b"\n", b" ") + b"\n")
spaces = st.sampled_from([b" ", b"\n", b"\r\n", b"\t", b"  ", b" \n\n"])
gaps = st.lists(st.one_of(spaces, comments), min_size=1, max_size=3).map(b"".join)
maybe_gap = st.one_of(st.just(b""), gaps)
separators = st.sampled_from([b"", b",", b";"])
characters = st.sampled_from(
    ["a", "Z", " ", "{", "}", "[", "#", "<", ":", "\\n", "\\\\", "\\x41", "\\101", "é", "# >>> kserve-warmup"]
)


@st.composite
def strings(draw):
    """One or more adjacent literals in either kind of quotes."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        quote = draw(st.sampled_from(["'", '"']))
        inner = draw(
            st.lists(st.one_of(characters, st.just("\\" + quote), st.just({"'": '"', '"': "'"}[quote])), max_size=5)
        )
        parts.append((quote + "".join(inner) + quote).encode() + draw(maybe_gap))
    return b"".join(parts)


@st.composite
def messages(draw, body):
    """A message in braces or angle brackets, with or without a colon before it."""
    opening, closing = draw(st.sampled_from([(b"{", b"}"), (b"<", b">")]))
    colon = draw(st.sampled_from([b"", b":"]))
    return colon + draw(gaps) + opening + draw(maybe_gap) + draw(body) + draw(maybe_gap) + closing


@st.composite
def lists_of(draw, item):
    items = draw(st.lists(item, max_size=3))
    return draw(st.sampled_from([b"", b":"])) + b" [" + (draw(maybe_gap) + b",").join(items) + b"]"


@st.composite
def tensors(draw):
    """What is inside an input or output."""
    dims = b",".join(str(d).encode() for d in draw(st.lists(st.integers(-1, 300), max_size=3)))
    fields = [b"name:" + draw(strings()), b"data_type: TYPE_FP32", b"dims: [" + dims + b"]"]
    return b"".join(field + draw(separators) + draw(gaps) for field in fields)


@st.composite
def bare_messages(draw):
    return draw(maybe_gap) + b"{" + draw(tensors()) + b"}"


@st.composite
def unknown(draw):
    """A field that this version of the message does not have."""
    value = st.one_of(
        strings().map(lambda s: b":" + s),
        st.just(b": -1.5e3"),
        st.just(b": [1, 2]"),
        messages(st.just(b"a: 1 b < c: 'd' >")),
    )
    return b"field_of_the_future" + draw(value)


@st.composite
def configs(draw):
    """A whole file."""
    fields = st.one_of(
        strings().map(lambda s: b"name:" + s),
        st.sampled_from([b"max_batch_size: 8", b"max_batch_size:0x10", b"backend : 'python'"]),
        st.sampled_from([b"input", b"output"]).flatmap(lambda n: messages(tensors()).map(lambda m: n + m)),
        st.sampled_from([b"input", b"output"]).flatmap(lambda n: lists_of(bare_messages()).map(lambda m: n + m)),
        messages(st.just(b"preferred_batch_size: [4, 8]")).map(lambda m: b"dynamic_batching" + m),
        messages(strings().map(lambda s: b"key: " + s + b" value { string_value: " + s + b"}")).map(
            lambda m: b"parameters" + m
        ),
        messages(st.just(b"name: 'mine' batch_size: 2")).map(lambda m: b"model_warmup" + m),
        unknown(),
    )
    names: set[bytes] = set()
    text = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + draw(maybe_gap)
    for field in draw(st.lists(fields, max_size=6)):
        name = re.match(rb"\w+", field)[0]
        if name in (b"name", b"max_batch_size", b"backend", b"dynamic_batching") and name in names:
            continue  # a scalar twice is an error of its own
        names.add(name)
        text += field + draw(separators) + draw(gaps)
    ending = draw(st.sampled_from([b"", b"\n", b"# an open comment {", b"#", b"\r\n", b"# \r"]))
    return text + ending


@settings(max_examples=100, deadline=None)
@given(configs())
def test_every_lexical_style_is_kept(text):
    before = parse(text)
    merged = merge(text, BLOCK, "ab")
    assert merged.startswith(text)
    assert remove(merged) == text
    after = parse(merged)
    assert list(after.model_warmup)[:-1] == list(before.model_warmup)
    assert after.model_warmup[-1].name == 'it\'s "one" # {'
    longer = merge(merged, BLOCK + BLOCK, "cd")
    assert remove(longer) == text
    assert merge(longer, BLOCK, "ab") == merged


@settings(max_examples=100, deadline=None)
@given(configs(), st.data())
def test_a_broken_file_is_refused_or_kept_but_never_damaged(text, data):
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 3))
    broken = (
        text[:at]
        + data.draw(st.sampled_from([b"{", b"}", b"[", b'"', b"'", b"#", b"\\", b"\n", b"\xff", b""]))
        + text[at + cut :]
    )
    try:
        merged = merge(broken, BLOCK, "ab")
    except TritonConfigError:
        return
    assert merged.startswith(broken)
    assert remove(merged) == broken
    assert own_span(broken) is None
