"""The choice of representative requests: the same whatever the order, the split and the machine."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import traffic, v1_sample

from kserve_warmup.errors import SampleError
from kserve_warmup.sampling import sketch as sketches
from kserve_warmup.sampling.bottom_k import SPARE, Place
from kserve_warmup.sampling.formats.record import Part, Record
from kserve_warmup.sampling.select import Limits, choose, select
from kserve_warmup.sampling.sketch import TrafficSketch

PART = Part("file")
LIMITS = st.builds(Limits, st.integers(1, 4), st.integers(1, 12), st.none() | st.integers(60, 300), st.integers(-5, 5))


def sketched(samples, limits, *, damaged=frozenset()):
    """A sketch of ``samples``; those whose id is in ``damaged`` show that when they are checked."""
    made = TrafficSketch(per_stratum=limits.per_stratum, seed=limits.seed)
    for index, sample in enumerate(samples):

        def check(_record, _protocol, sample=sample):
            if sample.id in damaged:
                raise SampleError("damaged")

        made.add(sample.stratum, Record("file", index + 1, sample.body), Place(PART, index), check)
    return made


def chosen(made, limits):
    """What is chosen, apart from where it stood; or that nothing fits."""
    try:
        choice = choose(made, limits)
    except SampleError:
        return None
    return ([(kept.key, kept.record.body, *rest) for kept, *rest in choice.requests], choice.coverage, choice.facts)


@given(traffic(), st.randoms(), LIMITS, st.integers(0, 3))
def test_the_order_of_the_traffic_does_not_matter_even_when_some_is_damaged(samples, random, limits, every):
    damaged = {s.id for s in samples if every and int(s.id, 16) % (every + 1) == 0}
    shuffled = list(samples)
    random.shuffle(shuffled)
    ordered, mixed = (sketched(each, limits, damaged=damaged) for each in (samples, shuffled))
    assert chosen(ordered, limits) == chosen(mixed, limits)
    assert ordered.requests == mixed.requests
    assert len(list(ordered.unusable())) == len(list(mixed.unusable()))


@given(traffic(), st.lists(st.integers(0, 3), min_size=30, max_size=30), st.permutations(range(4)), LIMITS)
def test_sketches_of_parts_merge_to_the_sketch_of_the_whole_in_any_order(samples, parts, order, limits):
    damaged = {s.id for s in samples if int(s.id, 16) % 4 == 0}
    of_parts = []
    for part in range(4):
        mine = [s for s, where in zip(samples, parts, strict=False) if where == part]
        of_parts.append(pickle.loads(pickle.dumps(sketched(mine, limits, damaged=damaged))))
    merged = TrafficSketch(per_stratum=limits.per_stratum, seed=limits.seed)
    for index in order:
        merged.merge(of_parts[index])
    assert chosen(merged, limits) == chosen(sketched(samples, limits, damaged=damaged), limits)


@given(traffic(), LIMITS)
def test_weights_and_coverage_are_shares_of_the_traffic(samples, limits):
    choice = choose(sketched(samples, limits), limits)
    counts = Counter(s.stratum for s in samples)
    weights = Counter()
    for kept, _, weight in choice.requests:
        weights[samples[kept.place.index].stratum] += weight
    for stratum, weight in weights.items():
        assert weight == pytest.approx(counts[stratum] / len(samples))
    assert choice.coverage == pytest.approx(sum(counts[stratum] for stratum in weights) / len(samples))


@given(traffic(), LIMITS)
def test_limits_hold_and_every_stratum_has_a_request_while_there_is_room(samples, limits):
    result = select(samples, "m", limits=limits)
    kept = Counter(s.stratum for s in result)
    different = {s.stratum: 0 for s in samples}
    for sample in {s.id: s for s in samples}.values():
        different[sample.stratum] += 1
    assert 1 <= len(result) <= limits.max_samples
    assert max(kept.values()) <= limits.per_stratum
    assert limits.max_bytes is None or sum(len(s.body) for s in result) <= limits.max_bytes
    if limits.max_bytes is None:
        assert len(kept) == min(limits.max_samples, len(different))
        if len(result) < limits.max_samples:
            assert all(kept[s] == min(limits.per_stratum, different[s]) for s in different)


def test_too_many_strata_leave_four_fifths_of_the_room_to_the_busiest_and_the_rest_to_what_they_do_not_cover():
    busy = [v1_sample(width, 1, value) for width in range(1, 21) for value in range(30 - width)]
    rare = [v1_sample(1, 7, 1), v1_sample(30, 1, 1), v1_sample(30, 1, 2)]
    result = select(busy + rare, "m", limits=Limits(max_samples=15))
    kept = {(s.signature.inputs[0].shape[0], s.batch) for s in result}
    busiest = {(width, 1) for width in range(1, 13)}
    assert kept == busiest | {(17, 1), (1, 7)} | {(13, 1)}  # another size and batch, then again by traffic
    named = result.selection["left_out"]
    assert named["strata"] == 22 - 15
    assert named["first"][0] == {"stratum": "v1 instances:INT64[N,14] batch 1", "share": 16 / 393}
    assert named["share"] == pytest.approx(1 - result.coverage)


def test_equal_requests_are_kept_once_and_counted_each_time():
    result = select([v1_sample(1, 1, 7)] * 3 + [v1_sample(2, 1, 7)], "m")
    assert [(s.signature.inputs[0].shape, s.weight) for s in result] == [((1,), 0.75), ((2,), 0.25)]


def test_a_damaged_request_gives_way_to_the_next_and_is_told_once():
    samples = [v1_sample(1, 1, value) for value in range(10)]
    limits = Limits(per_stratum=2)
    first = choose(sketched(samples, limits), limits).requests[0].kept
    made = sketched(samples * 2, limits, damaged={samples[first.place.index].id})
    assert first.key not in [request.kept.key for request in choose(made, limits).requests]
    assert len(choose(made, limits).requests) == 2
    assert [bad.reason for bad in made.unusable()] == ["damaged"]
    assert made.requests == 19


def test_another_seed_keeps_other_requests():
    samples = [v1_sample(1, 1, value) for value in range(100)]
    kept = {seed: {s.id for s in select(samples, "m", limits=Limits(seed=seed))} for seed in range(5)}
    assert len(set.union(*kept.values())) > 6


def test_every_request_of_a_stratum_is_as_likely_to_be_kept():
    samples = [v1_sample(1, 1, value) for value in range(10)]
    kept = Counter(s.id for seed in range(1000) for s in select(samples, "m", limits=Limits(seed=seed)))
    assert len(kept) == 10
    assert all(220 < times < 380 for times in kept.values())  # 300 expected, 5.5 standard deviations either way


def test_only_bodies_that_can_be_chosen_are_held():
    samples = [v1_sample(width, 1, value) for value in range(100) for width in (1, 2)]
    made = sketched(samples, Limits(per_stratum=3))
    kept = [one.kept for one in made.strata.values()]
    assert [one.count for one in made.strata.values()] == [100, 100]
    assert [[each.record is not None for each in one] for one in kept] == [[True] * 3 + [False] * SPARE] * 2


@pytest.mark.parametrize("room", [1, 3, 5])
def test_where_there_is_no_room_for_all_bodies_those_that_are_chosen_first_are_held(monkeypatch, room):
    samples = [v1_sample(1, width, value) for value in range(10, 99) for width in (1, 2)]
    limits = Limits(per_stratum=3)
    made = sketched(samples, limits)
    monkeypatch.setattr(sketches, "BODIES", room * len(samples[1].body))
    small = sketched(samples, limits)
    held = [[kept.record is not None for kept in one.kept] for one in small.strata.values()]
    assert 1 <= sum(map(sum, held)) <= room + 1
    assert all(each == sorted(each, reverse=True) for each in held)
    assert room == 1 or all(each[0] for each in held)
    keys = [[kept.key for one in each.strata.values() for kept in one.kept] for each in (made, small)]
    assert keys[0] == keys[1]


def test_the_room_of_bodies_that_go_is_used_again(monkeypatch):
    samples = [v1_sample(1, 1, value) for value in range(1000, 3000)]
    monkeypatch.setattr(sketches, "BODIES", 4 * len(samples[0].body))
    (stratum,) = sketched(samples, Limits()).strata.values()
    assert [kept.record is not None for kept in stratum.kept] == [True] * 3 + [False] * SPARE


def test_traffic_in_which_nothing_is_alike_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(sketches, "STRATA", 10)
    samples = [v1_sample(width, 1, 1) for width in range(1, 12)]
    sketched(samples[:10], Limits())
    with pytest.raises(SampleError, match="more than 10 combinations of shape"):
        sketched(samples, Limits())
    first, second = sketched(samples[:6], Limits()), sketched(samples[6:], Limits())
    with pytest.raises(SampleError, match="--shapes buckets"):
        first.merge(second)


def test_sketches_with_other_parameters_do_not_merge():
    with pytest.raises(SampleError, match="same per_stratum and seed"):
        TrafficSketch(seed=1).merge(TrafficSketch(seed=2))


@pytest.mark.parametrize("limits", [{"per_stratum": 0}, {"max_samples": 0}, {"max_bytes": 0}])
def test_limits_below_one_are_refused(limits):
    with pytest.raises(SampleError, match="at least 1"):
        Limits(**limits)


def test_a_set_that_nothing_fits_into_is_refused():
    with pytest.raises(SampleError, match="the smallest request has 20 bytes"):
        select([v1_sample(1, 1, 1)], "m", limits=Limits(max_bytes=5))


def test_no_traffic_is_an_error():
    with pytest.raises(SampleError, match="no request"):
        select([], "m")
