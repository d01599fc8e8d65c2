"""Files of scrub rules: whatever is in them, there is a scrubber or one clear line."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kserve_warmup.errors import SampleError
from kserve_warmup.sampling.scrub.scrub_rules import LARGEST
from kserve_warmup.sampling.scrub.scrubber import Scrubber

RULE = "rules: [{%s}]"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def refusal(file, content: bytes | str) -> str:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SampleError) as caught:
        Scrubber.load([file])
    line = str(caught.value)
    assert line.startswith(f"scrub rules {file}: ")
    assert line.isprintable()
    assert len(line) < 500
    return line


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "a list of rules"),
        ("- a", "a list of rules"),
        ("text", "a list of rules"),
        ("{}", "neither a rule nor strict"),
        ("rules: []", "neither a rule nor strict"),
        ("rules: null", "rules: "),
        ("rules: {a: 1}", "rules: "),
        ("rules: [1]", "rules.0: "),
        ("strict: yes please", "strict: "),
        ("1: 2", "1: Keys should be strings"),
        ("? [a]\n: 1", "unhashable key"),
        ("salt: 1", "salt: "),
        ("rules: []\nrules: []", "'rules' is given twice, line 1"),
        (RULE % "input: a, input: b, action: drop", "'input' is given twice"),
        (RULE % "input: 1, action: drop", "rules.0.input"),
        (RULE % "input: '', action: drop", "rules.0.input"),
        (RULE % "path: [a], action: drop", "rules.0.path"),
        (RULE % "path: '', action: drop", "rules.0.path"),
        (RULE % "input: a, action: mask", "rules.0.action"),
        (RULE % "input: a, action: null", "rules.0.action"),
        (RULE % "input: a, action: drop, optional: 1", "rules.0.optional"),
        (RULE % "input: a, action: drop, 1: 2", "Keys should be strings"),
        (RULE % 'input: a, action: drop, "x\\n\\e[2J": 1', r"x \x1b[2J"),
        (RULE % 'input: "\\ud800", action: drop', "unicode"),
        (RULE % "input: a, action: replace, value: 2001-01-01", "not a valid JSON value"),
        (RULE % "input: a, action: replace, value: 2001-99-99", "not YAML"),
        (RULE % "input: a, action: replace, value: !!binary aGk=", "not a valid JSON value"),
        (RULE % "input: a, action: replace, value: !!int x", "not YAML"),
        (RULE % "input: a, action: replace, value: !!bool x", "not YAML"),
        (RULE % "input: a, action: replace, value: !!timestamp x", "not YAML"),
        (RULE % 'input: a, action: replace, value: ["\\ud800"]', "lone surrogate"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        (BOMB, "its aliases written out"),
        ("&a [*a]", "inside of what it stands for"),
        ("a: *b", "undefined alias"),
        ("--- a\n--- b", "single document"),
        ("[" * 3000, "nested too deep"),
        ("- " * 3000, "nested too deep"),
        (b"\xff", "not YAML"),
        (b"\0", "not YAML"),
        (b"#" * (LARGEST + 1), f"larger than {LARGEST:,} bytes"),
        (RULE % "path: '$[?((((((', action: drop", "is no JSON path"),
        (RULE % f"path: '$[?{'(' * 900}', action: drop", "nested too deep"),
        (RULE % f"path: '${'[0]' * 2000}', action: drop", "write at most"),
        (RULE % "path: '$[?nope(@.a)]', action: drop", "'nope' is not defined"),
        (RULE % "path: '$[?match(@.a, \"(\")]', action: drop", "unclosed group"),
        (RULE % "path: '$[?search(@.a, \"(?=a)\")]', action: drop", "look-around"),
        (RULE % "path: '$[?@.a =~ /(/]', action: drop", "unterminated subpattern"),
        (RULE % "path: '$[?match(@.a, \"a{1000}{1000}\")]', action: drop", "size limit"),
        (RULE % "path: '$[?match(@.a, @.b)]', action: drop", "written out"),
        (RULE % "path: '$[?@.a == 1e999999]', action: drop", "is no JSON path"),
    ],
)
def test_nonsense_is_refused_in_one_line_that_tells_what_it_is(tmp_path, content, reason):
    assert reason in refusal(tmp_path / "rules.yaml", content)


def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for option in (tmp_path, tmp_path / "pipe", "/dev/zero", "", "a\0b", tmp_path / "nowhere", "x" * 5000):
        with pytest.raises(SampleError, match="or the word strict") as caught:
            Scrubber.load([option])
        assert str(caught.value).isprintable()


def test_anchors_of_a_sensible_size_work(tmp_path):
    (tmp_path / "rules.yaml").write_text(
        "rules:\n- &first {input: a, action: replace, value: [1, 2]}\n- {<<: *first, input: b, optional: true}"
    )
    first, second = Scrubber.load([tmp_path / "rules.yaml"]).rules
    assert (first.value, second.value, first.optional, second.optional) == ([1, 2], [1, 2], False, True)


WORDS = st.sampled_from(
    [
        "rules",
        "strict",
        "input",
        "path",
        "action",
        "value",
        "optional",
        "drop",
        "hash",
        "replace",
        "noise",
        "$.a",
        "$..[",
    ]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.binary(max_size=4), WORDS)
DOCUMENTS = st.recursive(
    st.one_of(SCALARS, st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, SCALARS), inner, max_size=4)),
    max_leaves=12,
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "input": st.one_of(SCALARS, st.text(max_size=4)),
        "path": st.one_of(SCALARS, st.text(alphabet="$.[]*?@()'\"ab01:,|&~^#=/ \\", max_size=12)),
        "action": st.one_of(WORDS, SCALARS),
        "value": DOCUMENTS,
        "optional": st.one_of(st.booleans(), SCALARS),
    },
)
FILES = st.one_of(
    DOCUMENTS.map(lambda value: yaml.dump(value).encode()),
    st.lists(RULES, max_size=3).map(lambda rules: yaml.dump({"rules": rules}).encode()),
    st.binary(max_size=60),
    st.text(alphabet="rules: []{}&*a-!\"'\n|>?,#%@`", max_size=40).map(str.encode),
)


def loaded_or_refused(file) -> Scrubber | str:
    try:
        return Scrubber.load([file])
    except SampleError as error:
        return str(error)


@given(FILES)
def test_any_file_is_a_scrubber_or_one_line(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_bytes(content)
    loaded = loaded_or_refused(file)
    if isinstance(loaded, str):
        assert loaded.isprintable()
        return
    assert loaded.rules or loaded.strict
    for rule in loaded.rules:
        assert str(rule).isprintable()
        json.dumps(rule.value).encode()
