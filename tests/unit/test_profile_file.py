"""What starts learned, as a file."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_warmup.errors import ProfileError
from kserve_warmup.profile import Profile
from kserve_warmup.profile_file import LearnedModel, ProfileFile, ProfileKey, add_to_file

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
