"""The choice of representative requests: the same whatever the order, the split and the machine."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import traffic, v1_sample

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.select import TrafficSketch, select

LIMITS = {"per_stratum": st.integers(1, 4), "max_samples": st.integers(1, 12), "seed": st.integers(-5, 5)}


def chosen(samples, **limits):
    """What is chosen, apart from the time of day."""
    result = select(samples, "m", **limits)
    return (result.samples, result.coverage, result.selection)


@given(traffic(), st.randoms(), st.fixed_dictionaries(LIMITS))
def test_the_order_of_the_traffic_does_not_matter(samples, random, limits):
    shuffled = list(samples)
    random.shuffle(shuffled)
    assert chosen(samples, **limits) == chosen(shuffled, **limits)


@given(traffic(), st.lists(st.integers(0, 3), min_size=30, max_size=30), st.permutations(range(4)), st.integers(1, 4))
def test_sketches_of_parts_merge_to_the_sketch_of_the_whole_in_any_order(samples, parts, order, per_stratum):
    sketches = [TrafficSketch(per_stratum=per_stratum) for _ in range(4)]
    for sample, part in zip(samples, parts, strict=False):
        sketches[part].add(sample)
    merged = TrafficSketch(per_stratum=per_stratum)
    for index in order:
        merged.merge(sketches[index])
    result = merged.result("m")
    assert (result.samples, result.coverage, result.selection) == chosen(samples, per_stratum=per_stratum)


@given(traffic(), st.fixed_dictionaries(LIMITS))
def test_weights_and_coverage_are_shares_of_the_traffic(samples, limits):
    result = select(samples, "m", **limits)
    counts = Counter(s.stratum for s in samples)
    weights = Counter()
    for sample in result:
        weights[sample.stratum] += sample.weight
    for stratum, weight in weights.items():
        assert weight == pytest.approx(counts[stratum] / len(samples))
    assert result.coverage == pytest.approx(sum(counts[stratum] for stratum in weights) / len(samples))


@given(traffic(), st.fixed_dictionaries(LIMITS))
def test_limits_hold_and_the_busiest_strata_are_kept_first(samples, limits):
    result = select(samples, "m", **limits)
    kept = Counter(s.stratum for s in result)
    counts = Counter(s.stratum for s in samples)
    assert 1 <= len(result) <= limits["max_samples"]
    assert max(kept.values()) <= limits["per_stratum"]
    assert len(kept) == min(limits["max_samples"], len(counts))
    assert min(counts[stratum] for stratum in kept) >= max((c for s, c in counts.items() if s not in kept), default=0)
    different = {stratum: len({s.id for s in samples if s.stratum == stratum}) for stratum in kept}
    if len(result) < limits["max_samples"]:
        assert all(kept[stratum] == min(limits["per_stratum"], different[stratum]) for stratum in kept)


def test_equal_requests_are_kept_once_and_counted_each_time():
    result = select([v1_sample(1, 1, 7)] * 3 + [v1_sample(2, 1, 7)], "m")
    assert [(len(s.signature.inputs), s.weight) for s in result] == [(1, 0.75), (1, 0.25)]


def test_another_seed_keeps_other_requests():
    samples = [v1_sample(1, 1, value) for value in range(100)]
    kept = {seed: {s.id for s in select(samples, "m", seed=seed)} for seed in range(5)}
    assert len(set.union(*kept.values())) > 6


def test_every_request_of_a_stratum_is_as_likely_to_be_kept():
    samples = [v1_sample(1, 1, value) for value in range(10)]
    kept = Counter(s.id for seed in range(1000) for s in select(samples, "m", per_stratum=3, seed=seed))
    assert len(kept) == 10
    assert all(220 < times < 380 for times in kept.values())  # 300 expected, 5.5 standard deviations either way


def test_only_the_kept_bodies_are_held():
    sketch = TrafficSketch(per_stratum=2)
    for value in range(1000):
        sketch.add(v1_sample(1, 1, value))
    (stratum,) = sketch.strata.values()
    assert (stratum.count, len(stratum.samples(1000))) == (1000, 2)


def test_sketches_with_other_parameters_do_not_merge():
    with pytest.raises(SampleError, match="same per_stratum and seed"):
        TrafficSketch(seed=1).merge(TrafficSketch(seed=2))


@pytest.mark.parametrize("limits", [{"per_stratum": 0}, {"max_samples": 0}])
def test_limits_below_one_are_refused(limits):
    with pytest.raises(SampleError, match="at least 1"):
        select([v1_sample(1, 1, 1)], "m", **limits)


def test_no_traffic_is_an_error():
    with pytest.raises(SampleError, match="no request"):
        select([], "m")
