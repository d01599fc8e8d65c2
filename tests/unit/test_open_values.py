"""What of a body may choose a path: few values make strata, many are data, whatever the order of the traffic."""

from __future__ import annotations

import json
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kserve_warmup.monitor.warmed_strata import WarmedStrata
from kserve_warmup.protocols.bodies import request
from kserve_warmup.samples.sample import Stratum
from kserve_warmup.sampling.digest import decoded
from kserve_warmup.sampling.formats.record import Part, recorded
from kserve_warmup.sampling.reader import sample_traffic
from kserve_warmup.sampling.sketch import Place, TrafficSketch


def own(**fields):
    return request("v1", json.dumps(fields).encode())


def words(tmp_path, records):
    (tmp_path / "traffic").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    made, _ = sample_traffic([tmp_path / "traffic"], "m")
    assert made.coverage == pytest.approx(1)
    return sorted({sample.stratum.words for sample in made})


def test_a_choice_makes_strata_and_what_differs_in_every_request_makes_none(tmp_path):
    records = [{"text": f"some text {n}", "task": "pos" if n % 20 else "ner", "user": f"u{n}"} for n in range(400)]
    assert words(tmp_path, records) == ["task=ner", "task=pos"]


def test_parameters_and_wanted_outputs_make_strata(tmp_path):
    x = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}
    records = [
        {"inputs": [x], "parameters": {"mode": "slow" if n % 40 else "fast", "trace": f"t{n}"}} for n in range(400)
    ]
    records += [{"inputs": [x], "outputs": [{"name": "b"}, {"name": "a"}]}] * 10
    assert words(tmp_path, records) == ["outputs=a+b", "parameters.mode=fast", "parameters.mode=slow"]


def test_other_fields_beside_instances_make_strata(tmp_path):
    records = [{"instances": [[n]], "mode": "deep" if n % 9 else "quick", "note": f"a text {n}"} for n in range(99)]
    assert words(tmp_path, records) == ["mode=deep", "mode=quick"]


def test_what_an_llm_samples_with_makes_strata_and_its_numbers_do_not(tmp_path):
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    records = [chat | {"temperature": n / 100} for n in range(1, 50)] + [chat | {"temperature": 0}] * 9
    records += [chat | {"presence_penalty": 0.5, "n": 2}] * 9 + [
        chat | {"chat_template_kwargs": {"thinking": True}}
    ] * 9
    assert words(tmp_path, records) == ["", "chat_template_kwargs.thinking", "n penalties", "temperature"]


def test_many_choices_together_make_few_strata(tmp_path):
    draw = random.Random(1)
    records = [{f"k{key}": draw.choice("abcd") for key in range(9)} for _ in range(3000)]
    assert len(words(tmp_path, records)) <= 32


def test_a_value_that_was_warmed_by_none_is_new_only_where_the_key_is_a_choice():
    warmed = WarmedStrata([own(task="ner", text="a b").stratum])
    assert own(task="ner", text="c d").stratum in warmed
    assert own(task="pos", text="c d").stratum not in warmed
    assert WarmedStrata([Stratum(*own(user="a", text="b c").stratum[:4])]).__contains__(
        own(user="x", text="y z").stratum
    )


def groups(samples, cuts):
    """Return the sketch's groups of samples that were read in several processes."""
    bounds = [0, *sorted(cuts), len(samples)]
    whole = TrafficSketch()
    for start, stop in pairwise(bounds):
        part = TrafficSketch()
        for number, sample in enumerate(samples[start:stop]):
            record = recorded(sample, "f", number)
            part.add(sample.stratum, record, Place(Part("f"), number), decoded)
        whole.merge(part)
    return {stratum: (one.count, [kept.key for kept in one.kept]) for stratum, one in whole.groups().items()}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_a_choice_depends_on_neither_order_nor_processes(data):
    values = st.tuples(st.sampled_from("abc"), st.integers(0, 40), st.booleans(), st.sampled_from(["x", "y", "xx"]))
    drawn = data.draw(st.lists(values, min_size=1, max_size=60))
    samples = [
        own(**{name: "some text", "task": task, "user": f"u{user}", "deep": deep}) for task, user, deep, name in drawn
    ]
    shuffled = data.draw(st.permutations(samples))
    cuts = data.draw(st.lists(st.integers(0, len(samples)), max_size=3))
    assert groups(samples, []) == groups(shuffled, cuts)
