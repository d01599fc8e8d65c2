"""JSON paths of scrub rules find what they say, and end."""

from __future__ import annotations

import json

import pytest

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import request
from kserve_warmup.sampling.scrub import json_paths as _scrub_paths
from kserve_warmup.sampling.scrub.scrubber import Rule, Scrubber


def after(body: object, path: str, **more) -> dict:
    rule = Rule(path=path, **({"action": "replace", "value": "X"} | more))
    return json.loads(Scrubber((rule,), strict=False, key=b"k")(request("v1", json.dumps(body).encode())).body)


def nested(depth: int) -> object:
    return [nested(depth - 1)] if depth else "deep"


def tree(depth: int) -> object:
    return {name: tree(depth - 1) for name in "ab"} if depth else "leaf"


@pytest.mark.parametrize(
    "condition",
    ['match(@.text, "(a+)+$")', 'search(@.text, "^(a+)+$")', "@.text =~ /(a+)+$/", 'match(@.text, "(a|aa)+$")'],
)
def test_an_expression_that_would_take_for_ever_is_answered_at_once(condition):
    rows = [{"text": "a" * 200_000 + "b"}, {"text": "aaa"}]
    found = after({"instances": rows}, f"$.instances[?{condition}].text")
    assert [row["text"] for row in found["instances"]] == [rows[0]["text"], "X"]


@pytest.mark.parametrize(
    ("condition", "matches"),
    [
        ('match(@.t, "a.c")', ["abc"]),
        ('search(@.t, "b")', ["abc", "xabcx"]),
        ('match(@.t, "A.C")', []),
        ("@.t =~ /A.C/i", ["abc"]),
        ("@.t =~ /abc|b/", ["abc"]),
        ('search(@.t, "^x|^a")', ["abc", "xabcx"]),
        ('match(@.t, "[\\\\p{L}]+")', ["abc", "xabcx"]),
        ('search(@.t, "\\\\d")', ["1", "\ud800 1"]),
    ],
)
def test_expressions_match_what_they_say(condition, matches):
    texts = ["abc", "xabcx", "1", "", "\ud800 1"]
    found = after({"instances": [{"t": text} for text in texts] + [{"t": 5}]}, f"$.instances[?{condition}].t")
    assert [row["t"] for row in found["instances"]] == ["X" if text in matches else text for text in texts] + [5]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("$..*..*..*..x", tree(12)),
        ("$..[?count($..*) > 3].x", tree(12)),
        ("$..[?@..[?@..x]]", tree(14)),
        ('$[*][?search(@, "[ab]*a[ab]{50000}c")]', "ab" * 20_000),
    ],
)
def test_a_path_that_looks_at_too_much_is_given_up(path, body, monkeypatch):
    monkeypatch.setattr(_scrub_paths, "STEPS", 50_000)
    with pytest.raises(SampleError, match="too large"):
        after({"instances": [body]}, path)


@pytest.mark.parametrize("path", ["$..x", "$.instances"])
def test_a_body_that_is_nested_too_deep_is_refused(path):
    noise = Scrubber((Rule(path=path, action="noise"),), strict=False, key=b"k")
    with pytest.raises(SampleError, match="nested too deep"):
        noise(request("v1", json.dumps({"instances": nested(900)}).encode()))


@pytest.mark.parametrize("path", ["$", "^[0]", "$.instances[0].name[0:1]"])
def test_what_cannot_be_changed_is_not_found(path):
    body = {"instances": [{"name": "Anna"}]}
    assert after(body, path) == body


def test_a_path_that_finds_names_is_refused():
    with pytest.raises(SampleError, match="finds names"):
        after({"instances": [{"name": "Anna"}]}, "$.instances[*].~name")


def test_items_are_dropped_from_a_list_in_whatever_order_a_path_finds_them():
    rule = Rule(path="$.instances[1,0,1]", action="drop")
    scrubbed = Scrubber((rule,), strict=False, key=b"k")(request("v1", b'{"instances":["a","b","c"]}'))
    assert json.loads(scrubbed.body) == {"instances": ["c"]}
