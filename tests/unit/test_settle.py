"""Only requests that are chosen in the end are decoded; others are chosen for those that turn out to be damaged."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kserve_warmup.errors import SampleError
from kserve_warmup.sampling import settle
from kserve_warmup.sampling.digest import Job
from kserve_warmup.sampling.engines import local
from kserve_warmup.sampling.reader import sample_traffic
from kserve_warmup.sampling.select import Limits

REQUESTS = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9), st.booleans()), min_size=1, max_size=60)


def v1_body(width: int, value: int, *, damaged: bool = False) -> str:
    """Numbers of one shape; whether the first is none only shows when it is parsed."""
    rows = json.dumps({"instances": [[value] * width]})
    return rows.replace("[[", "[[1-") if damaged else rows


def v2_body(value: int, size: int = 20_000) -> str:
    """A request whose numbers take most of it."""
    item = {"name": "x", "shape": [1, size], "datatype": "INT64", "data": [value] * size}
    return json.dumps({"inputs": [item]})


def written(folder: str | Path, bodies: list[str]) -> Path:
    """A file with a request on each line."""
    file = Path(folder, "day.jsonl")
    file.write_text("".join(f"{body}\n" for body in bodies))
    return file


@pytest.fixture
def passes(monkeypatch):
    """The jobs that the traffic was read for, and each body that was decoded whole in the end."""
    seen = []
    real = settle.decoded

    def decoded(record, protocol):
        seen.append(record.body)
        return real(record, protocol)

    monkeypatch.setattr(settle, "decoded", decoded)
    return seen


@settings(max_examples=60)
@given(REQUESTS, st.builds(Limits, st.integers(1, 3), st.integers(1, 6), seed=st.integers(0, 3)))
def test_damaged_requests_change_nothing_about_which_of_the_others_are_chosen(requests, limits):
    intact = [v1_body(width, value) for width, value, damaged in requests if not damaged]
    assume(intact)
    bodies = [v1_body(width, value, damaged=damaged) for width, value, damaged in requests]
    with tempfile.TemporaryDirectory() as folder:
        job = Job(Limits(limits.per_stratum, 200, seed=limits.seed))
        alone, _ = sample_traffic([written(folder, intact)], "m", job=job)
        mixed, tally = sample_traffic([written(folder, bodies)], "m", job=job, max_bad=1)
        few, _ = sample_traffic([written(folder, bodies)], "m", job=Job(limits), max_bad=1)
    assert {sample.id for sample in mixed} == {sample.id for sample in alone}
    assert {sample.id for sample in few} <= {sample.id for sample in alone}
    assert len(few) == min(limits.max_samples, len(alone))
    assert tally.requests + tally.bad == len(requests)


def test_a_stratum_of_damaged_requests_only_is_read_twice_and_each_of_them_is_counted(tmp_path):
    bodies = [v1_body(1, value) for value in range(100)] + [v1_body(2, n, damaged=True) for n in range(40)]
    jobs = []

    def engine(work, job, progress):
        jobs.append(job)
        return local.engine(1)(work, job, progress)

    samples, tally = sample_traffic([written(tmp_path, bodies)], "m", max_bad=0.5, engine=engine)
    assert (tally.requests, tally.bad, samples.coverage) == (100, 40, 1)
    assert {sample.signature.inputs[0].shape for sample in samples} == {(1,)}
    assert [job.checked for job in jobs] == [False, True]
    with pytest.raises(SampleError, match=r"40 of 140 records .* more than --max-bad 0\.01 allows; first: .*:101: "):
        sample_traffic([tmp_path / "day.jsonl"], "m")


def test_traffic_of_damaged_requests_only_names_the_first_of_them(tmp_path):
    file = written(tmp_path, [v1_body(2, number, damaged=True) for number in range(40)])
    with pytest.raises(SampleError, match=r"no request in 40 records; first: .*day\.jsonl:1: the body is not JSON"):
        sample_traffic([file], "m", form="jsonl", max_bad=1)


def test_only_what_is_chosen_is_decoded_however_many_strata_there_are(tmp_path, passes):
    bodies = [v2_body(number, number % 30 + 1) for number in range(600)]
    samples, _ = sample_traffic([written(tmp_path, bodies)], "m", job=Job(Limits(max_samples=20)))
    assert sorted(passes) == sorted(sample.body for sample in samples)
