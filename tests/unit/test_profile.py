"""What earlier starts learned, and what a later start makes of it. Latencies are in seconds."""

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_warmup import Profile, SteadyStateDetector, SteadyStateJudge
from kserve_warmup.errors import ProfileError, WarmupError
from kserve_warmup.steady import RECOMMENDED_MAX_CALLS

LATENCY = st.one_of(st.floats(0, 86_400), st.floats(1e-6, 1e-2))
RUNS = st.lists(st.lists(LATENCY, min_size=1, max_size=80), min_size=1, max_size=5)
WARM = [2.0, *[0.1] * 79]


def noisy(levels, seed, spread=0.02):
    generator = random.Random(seed)
    return [level * math.exp(generator.gauss(0, spread)) for level in levels]


def calls_of(series, profile=None):
    detector = SteadyStateDetector(profile=profile)
    for seconds in series:
        if detector.observe(seconds):
            break
    return detector


def judged(levels, profiles=None, known=None, spread=0.02, seed=1):
    """Let a judge call strata; ``levels`` of a stratum's n-th call, the last one for ever."""
    generator, seen = random.Random(seed), [[] for _ in levels]
    judge = SteadyStateJudge(range(len(levels)), profiles=profiles, known=known)
    while (stratum := judge.next()) is not None:
        line = levels[stratum]
        seconds = line[min(len(seen[stratum]), len(line) - 1)] * math.exp(generator.gauss(0, spread))
        seen[stratum].append(seconds)
        judge.observe(stratum, seconds)
    return judge, seen


def learned(levels, **options):
    _, seen = judged(levels, seed=7, **options)
    return {stratum: Profile.learn([calls]) for stratum, calls in enumerate(seen)}


# --- Kept and read ---


@given(RUNS)
@settings(max_examples=150, deadline=None)
def test_a_profile_is_read_as_it_was_written(runs):
    profile = Profile.learn(runs)
    text = profile.to_json()
    assert Profile.from_json(text) == profile
    assert Profile.from_json(text.encode()) == profile
    assert "\n" not in text


def test_a_profile_stays_small_however_long_its_runs_are():
    text = Profile.learn([[random.Random(run).random() for _ in range(50_000)] for run in range(9)]).to_json()
    assert len(text) < 4000


def test_only_the_newest_three_runs_are_kept():
    runs = [[9.0, float(level), float(level)] for level in range(1, 6)]
    profile = Profile.learn(runs)
    assert [run.plateau for run in profile.runs] == [3, 4, 5]
    assert Profile.learn(runs[:2]).joined(Profile.learn(runs[2:])) == profile


def test_a_hint_stays_one_when_it_is_joined():
    profile = Profile.learn([WARM])
    assert profile.as_hint().joined(profile).hint
    assert not profile.joined(profile).hint


@pytest.mark.parametrize(
    "change",
    [
        {"plateau": -1.0},
        {"plateau": math.nan},
        {"plateau": math.inf},
        {"plateau": 1e9},
        {"plateau": 0},
        {"plateau": "0.1"},
        {"plateau": None},
        {"typical": -0.1},
        {"noise": -0.1},
        {"noise": math.nan},
        {"calls": 0},
        {"calls": -3},
        {"calls": 10**30},
        {"calls": 2.5},
        {"calls": True},
        {"settled": 81},
        {"settled": -1},
        {"compiled": 81},
        {"one_offs": 1.0},
        {"curve": []},
        {"curve": [1.0] * 5000},
        {"curve": {}},
        {"more": 1},
    ],
)
def test_a_profile_that_says_what_no_run_can_have_shown_is_refused_in_one_line(change):
    content = json.loads(Profile.learn([WARM]).to_json())
    content["runs"][0] |= change
    with pytest.raises(ProfileError, match=r"no warm-up profile: .*delete it") as caught:
        Profile.from_json(json.dumps(content))
    assert isinstance(caught.value, WarmupError)
    assert "\n" not in str(caught.value)


NO_PROFILES = [
    *("", "{", "[]", "null", "7", "[" * 15_000, "9" * 9000, "1" * 100_000, b"\xff\xfe"),
    *('{"schema": 1}', '{"schema": 2, "runs": []}', '{"schema": true, "runs": [1]}'),
    *('{"schema": 1, "runs": []}', '{"schema": 1, "runs": [1]}'),
]


@pytest.mark.parametrize("text", NO_PROFILES)
def test_what_is_no_profile_is_refused_in_one_line(text):
    with pytest.raises(ProfileError) as caught:
        Profile.from_json(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("runs", [[], [[]], [[1.0], []], [[math.nan]], [[-1.0]], [[math.inf]], [[1e9]]])
def test_nothing_is_learned_from_runs_that_are_none(runs):
    with pytest.raises(ProfileError):
        Profile.learn(runs)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_profile_is_refused_or_used_and_crashes_nothing(data):
    text = bytearray(Profile.learn([WARM, WARM]).to_json().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        profile = Profile.from_json(bytes(text))
    except ProfileError:
        return
    series = noisy(WARM * 2, 3)
    assert 5 <= calls_of(series, profile).calls <= calls_of(series).calls


# --- A series by itself ---


def test_a_series_that_is_flat_after_its_first_call_needs_few_calls_where_that_was_learned():
    detector = calls_of(noisy(WARM, 2), Profile.learn([noisy(WARM, 1)]))
    assert detector.calls <= 12
    assert detector.profile_used
    assert detector.profile_refused is None


def test_without_a_profile_none_is_used():
    detector = calls_of(noisy(WARM, 2))
    assert (detector.profile_used, detector.profile_refused) == (False, None)


def test_a_series_that_is_slower_than_was_learned_is_judged_in_full_and_the_report_says_why():
    detector = calls_of(noisy([level * 1.8 for level in [9.0, *WARM]], 2), Profile.learn([noisy(WARM, 1)]))
    assert detector.calls == calls_of(noisy([level * 1.8 for level in [9.0, *WARM]], 2)).calls
    assert not detector.profile_used
    assert detector.profile_refused == "latencies are 1.8 times what was learned"


@pytest.mark.parametrize("scale", [0.3, 0.7, 1.5, 4.0])
def test_on_another_node_the_curve_tells_what_the_level_cannot(scale):
    detector = calls_of(noisy([level * scale for level in WARM], 2), Profile.learn([noisy(WARM, 1)]))
    assert detector.profile_used
    assert detector.calls <= 25


def test_a_slower_tier_is_not_taken_for_a_slower_node():
    learned_from = [2.0, *[0.1] * 100]
    slower = [2.0, *[0.3] * 40, *[0.1] * 200]
    detector = calls_of(noisy(slower, 2), Profile.learn([noisy(learned_from, 1)] * 3))
    assert detector.calls > 40


@given(RUNS, st.lists(st.floats(1e-4, 1.0), min_size=100, max_size=100), st.booleans(), st.integers(-20, 20))
@settings(max_examples=150, deadline=None)
def test_no_profile_costs_a_call_more_and_every_one_needs_five(runs, series, hint, power):
    profile = Profile.learn(runs)
    detector = calls_of(series, profile.as_hint() if hint else profile)
    assert 5 <= detector.calls <= calls_of(series).calls
    if hint:  # of a hint only the shape counts: the unit makes no difference
        assert calls_of([2.0**power * value for value in series], profile.as_hint()).calls == detector.calls


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_the_unit_makes_no_difference_where_it_is_that_of_the_profile(seed):
    first, second = (noisy([3.0, 1.2, *[1.0] * 90], seed + run, 0.04) for run in range(2))
    calls = {
        calls_of([value * 2**power for value in second], Profile.learn([[v * 2**power for v in first]])).calls
        for power in (-3, 0)
    }
    assert len(calls) == 1


# --- All strata of a process ---

LEVELS = [[3.0 - 0.1 * n, 0.001 * (n + 1)] for n in range(12)]


def test_two_calls_a_stratum_are_enough_where_all_was_learned_to_be_flat_after_the_first():
    judge, seen = judged(LEVELS, learned(LEVELS))
    assert [len(calls) for calls in seen] == [2] * 12
    assert judge.steady
    assert judge.profile_used
    assert judge.profile_refused is None


@pytest.mark.parametrize(("seconds", "calls"), [(0.001, 12), (60.0, 2)])
def test_few_strata_are_called_a_dozen_times_in_all_for_the_servers_own_stack_unless_that_is_dear(seconds, calls):
    few = [[1000 * seconds, seconds], [900 * seconds, seconds]]
    judge, seen = judged(few[:1], learned(few[:1]))
    assert [len(calls) for calls in seen] == [calls]
    assert judge.profile_used
    assert sum(len(calls) for calls in judged(few, learned(few))[1]) == max(calls, 4)


def test_one_call_a_stratum_is_enough_on_a_later_path():
    first, _ = judged(LEVELS)
    known = {stratum: first.verdict(stratum) for stratum in range(12)}
    warm = [line[1:] for line in LEVELS]
    judge, seen = judged(warm, learned(warm, known=known), known, seed=3)
    assert [len(calls) for calls in seen] == [1] * 12
    assert judge.steady


def test_a_process_one_of_whose_strata_was_compiled_late_is_judged_in_full():
    late = [*LEVELS[:-1], [2.0, *[0.012] * 3, 1.5, 0.012]]
    profiles = {stratum: Profile.learn([line + line[-1:] * 9]) for stratum, line in enumerate(late)}
    (judge, seen), (_, unaided) = judged(late, profiles), judged(late)
    assert [len(calls) for calls in seen] == [len(calls) for calls in unaided]
    assert not judge.profile_used
    assert "1 of 12 strata were learned to settle after call 3" in judge.profile_refused


def test_a_process_whose_later_calls_alone_are_slower_than_was_learned_is_judged_in_full():
    slow = [[first, 1.8 * later] for first, later in LEVELS]
    (judge, seen), (_, unaided) = judged(slow, learned(LEVELS)), judged(slow)
    assert [len(calls) for calls in seen] == [len(calls) for calls in unaided]
    assert judge.steady
    assert not judge.profile_used
    assert judge.profile_refused == "latencies are 1.8 times what was learned"


def test_a_process_that_compiles_more_slowly_too_is_on_a_slower_node():
    slow = [[1.6 * level for level in line] for line in LEVELS]
    judge, seen = judged(slow, learned(LEVELS))
    assert judge.profile_used
    assert [len(calls) for calls in seen] == [3] * 12


def test_a_process_whose_strata_compile_otherwise_is_another_and_is_judged_in_full():
    other = [[first / (1 + n % 5) ** 2, later] for n, (first, later) in enumerate(LEVELS)]
    (judge, seen), (_, unaided) = judged(other, learned(LEVELS)), judged(other)
    assert [len(calls) for calls in seen] == [len(calls) for calls in unaided]
    assert judge.profile_refused == "the first calls of its strata are not what was learned"


def test_what_was_late_in_one_of_three_runs_was_a_neighbour_and_what_was_in_all_is_the_models_own():
    once, always = [2.0, *[0.012] * 6, 1.5, *[0.012] * 4], [2.0, *[0.012] * 12]
    for runs, used in (([once, always, always], True), ([once, once, once], False)):
        profiles = learned(LEVELS)
        profiles[11] = Profile.learn(runs)
        judge, _ = judged(LEVELS, profiles)
        assert judge.profile_used == used


def test_a_hiccup_of_one_stratum_buys_one_call_and_no_full_judgement():
    hiccup = [*LEVELS[:-1], [2.0, 0.3, 0.012]]
    judge, seen = judged(hiccup, learned(LEVELS))
    assert judge.profile_used
    assert sum(map(len, seen)) <= 26


def test_strata_without_a_profile_are_judged_in_full():
    profiles = learned(LEVELS)
    del profiles[0]
    judge, seen = judged(LEVELS, profiles)
    assert judge.steady
    assert [len(calls) for calls in seen[1:]] == [2] * 11
    assert len(seen[0]) > 10


def test_of_strata_that_never_were_called_the_judge_says_so():
    judge = SteadyStateJudge("ab", profiles={"a": Profile.learn([WARM]), "b": Profile.learn([WARM])})
    assert judge.verdict("a").reason == "it was not called"
    assert not judge.profile_used


@given(st.lists(RUNS, min_size=1, max_size=4), st.lists(LATENCY, min_size=50, max_size=50), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_a_profile_says_each_stratum_is_called_twice_and_the_judge_ends(runs, latencies, hint):
    profiles = {stratum: Profile.learn(one) for stratum, one in enumerate(runs)}
    profiles = {stratum: one.as_hint() if hint else one for stratum, one in profiles.items()}
    judge = SteadyStateJudge(range(len(runs)), profiles=profiles, max_calls=40)
    calls = [0] * len(runs)
    while (stratum := judge.next()) is not None:
        judge.observe(stratum, latencies[sum(calls) * 7 % 50])
        calls[stratum] += 1
    assert all(2 <= count <= 40 for count in calls)


def test_a_series_without_a_verdict_ends_at_the_recommended_calls_with_a_profile_too():
    growth = [0.1 * (1 + call / 50) for call in range(RECOMMENDED_MAX_CALLS)]
    assert not calls_of(growth, Profile.learn([WARM])).steady


def test_a_series_that_was_learned_to_settle_late_is_judged_in_full_and_the_report_says_why():
    late = [*[0.5] * 80, *[0.1] * 300]
    detector = calls_of(noisy(late, 2), Profile.learn([noisy(late, 1)] * 3))
    assert detector.calls == calls_of(noisy(late, 2)).calls
    assert detector.profile_refused is None or "settle only after call" in detector.profile_refused
    assert not detector.profile_used
