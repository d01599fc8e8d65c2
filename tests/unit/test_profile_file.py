"""What starts learned, as a file."""

import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_warmup.errors import ProfileError
from kserve_warmup.profile import Profile
from kserve_warmup.profile_file import LearnedModel, ProfileFile, ProfileKey, add_to_file
from kserve_warmup.steady_judge import SteadyStateJudge

KEY = ProfileKey("code", "packages", "machine", "samples")
STRATUM = ("v1", "float[2]", "", 1)
RUNS = st.lists(st.floats(1e-6, 10), min_size=1, max_size=40)
TEXT = st.text(max_size=30)
STRATA = st.tuples(TEXT, TEXT, TEXT, st.integers(0, 10**6))


def learned(*runs, key=KEY, path="rest"):
    return LearnedModel(key, {path: {STRATUM: Profile.learn(runs)}})


MODELS = st.dictionaries(
    TEXT,
    st.builds(
        LearnedModel,
        st.builds(ProfileKey, TEXT, TEXT, TEXT, TEXT),
        st.dictionaries(
            TEXT, st.dictionaries(STRATA, RUNS.map(lambda run: Profile.learn([run])), max_size=3), max_size=3
        ),
    ),
    max_size=3,
)


@given(MODELS)
def test_a_file_says_after_reading_what_was_written(models):
    assert ProfileFile.from_json(ProfileFile(models).to_json()) == ProfileFile(models)


@given(st.data(), st.binary(max_size=4))
def test_a_damaged_file_is_refused_in_one_line_or_is_another_file_of_profiles(data, junk):
    text = ProfileFile({"m": learned([0.3, 0.1, 0.1])}).to_json()
    start = data.draw(st.integers(0, len(text)))
    damaged = text[:start] + junk + text[data.draw(st.integers(start, len(text))) :]
    try:
        assert isinstance(ProfileFile.from_json(damaged), ProfileFile)
    except ProfileError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "text", ["[]", "null", '"x"', "{}", '{"schema": 2, "profiles": {}}', '{"schema": 1, "profiles": []}']
)
def test_what_is_no_file_of_profiles_is_refused(text):
    with pytest.raises(ProfileError):
        ProfileFile.from_json(text.encode())


def test_starts_under_the_same_key_are_kept_together_and_three_of_them_at_most(tmp_path):
    file = tmp_path / "profile.json"
    for run in range(5):
        add_to_file(file, "m", learned([0.1 + run, 0.1]))
    assert ProfileFile.open(file).models["m"].runs == 3


def test_what_was_learned_under_another_key_counts_no_more(tmp_path):
    file = tmp_path / "profile.json"
    add_to_file(file, "m", learned([0.3, 0.1]))
    add_to_file(file, "other", learned([0.3, 0.1]))
    add_to_file(file, "m", learned([0.3, 0.1], key=ProfileKey("new code")))
    found = ProfileFile.open(file).models
    assert (found["m"].key.code, found["m"].runs) == ("new code", 1)
    assert found["other"].key == KEY
    assert found["m"].key.differs(KEY) == ("code", "packages", "machine", "samples")


def test_a_file_that_cannot_be_used_is_replaced_by_what_was_learned(tmp_path):
    file = tmp_path / "profile.json"
    file.write_text("not JSON")
    add_to_file(file, "m", learned([0.3, 0.1]))
    assert json.loads(file.read_text())["profiles"].keys() == {"m"}


def test_a_file_that_is_too_large_is_refused_before_it_is_read_whole(tmp_path):
    file = tmp_path / "profile.json"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(ProfileError, match="larger"):
        ProfileFile.open(file)


# --- A thousand mutations: whatever a file says, no stratum is left cold ---

LINES = [[2.0 - 0.2 * n, 0.002 * (n + 1)] for n in range(5)]  # seconds of each stratum's first call, and of later ones
POISON = (None, True, -1, 0, 1e308, -1e308, 5e-324, 2**70, "x", "", "NaN", [], {}, [[[[]]]], {"schema": 1}, 0.5, 3)
BYTES = (b"NaN", b"Infinity", b"1e999", b"[" * 5000, b"\xff\xfe", b"\x00", b'{"a":' * 3000, b"")


def calls_of(profiles):
    """Let a judge call the strata of LINES; return how often each was called."""
    generator, calls = random.Random(1), [0] * len(LINES)
    judge = SteadyStateJudge(range(len(LINES)), profiles=profiles)
    while (stratum := judge.next()) is not None:
        seconds = LINES[stratum][min(calls[stratum], 1)] * math.exp(generator.gauss(0, 0.02))
        calls[stratum] += 1
        judge.observe(stratum, seconds)
    return calls


def places(node, found=()):
    """Yield every place in a document, as the keys that lead there."""
    yield found
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from places(value, (*found, key))


def mutated(text, generator):
    """Return a file in which something was cut off, overwritten, poisoned, taken away or brought from elsewhere."""
    at = generator.randrange(len(text))
    if generator.random() < 0.3:
        return text[:at] + generator.choice(BYTES) + (text[at + generator.randrange(9) :] if at % 2 else b"")
    content = json.loads(text)
    for _ in range(generator.randint(1, 3)):
        *way, last = generator.choice([place for place in places(content) if place])
        node = content
        for key in way:
            node = node[key]
        if generator.random() < 0.2:
            del node[last]
        elif isinstance(node[last], int | float) and generator.random() < 0.6:
            node[last] = type(node[last])(node[last] * 10 ** generator.uniform(-6, 6))
        else:
            node[last] = generator.choice(POISON)
    return json.dumps(content).encode()


@pytest.mark.parametrize("seed", range(10))
def test_of_a_thousand_mutated_files_each_is_refused_in_a_line_or_used_and_none_leaves_a_stratum_cold(seed, tmp_path):
    generator, file, used = random.Random(seed), tmp_path / "profile.json", 0
    keys = [("v1", "float[2]", "", rows + 1) for rows in range(len(LINES))]
    runs = [[[first, *[later * generator.uniform(0.95, 1.1)] * 9] for first, later in LINES] for _ in range(3)]
    profiles = {key: Profile.learn([run[n] for run in runs]) for n, key in enumerate(keys)}
    text = ProfileFile({"m": LearnedModel(KEY, {"in_process": profiles})}).to_json()
    for _ in range(100):
        file.write_bytes(mutated(text, generator))
        try:
            model = ProfileFile.open(file).models.get("m")
        except ProfileError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        strata = model.paths.get("in_process", {}) if model else {}
        found = {n: strata[key] for n, key in enumerate(keys) if key in strata}
        used += 1
        assert min(calls_of(found)) >= 2
        assert min(calls_of({n: profile.as_hint() for n, profile in found.items()})) >= 2
    assert used > 3  # not all are refused when they are read
