"""No request like a sample of the set is ever taken for one that the warm-up did not know."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kserve_warmup.monitor.warmed_strata import WarmedStrata
from kserve_warmup.protocols.bodies import request
from kserve_warmup.samples.strata import without_model
from kserve_warmup.sampling.digest import Job
from kserve_warmup.sampling.formats.jsonl import line
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.sampling.place import exact
from kserve_warmup.sampling.reader import sample_traffic


def v2(names, size, model):
    inputs = [{"name": n, "datatype": "FP32", "shape": [1, size], "data": [0.5] * size} for n in names]
    body = json.dumps({"inputs": inputs} | ({"parameters": {"model": model}} if model else {})).encode()
    return Record("", 0, body, {}, "/v2/models/m/infer", "v2", 200, 0.0)


def v1(rows, model):
    body = json.dumps({"instances": [[0.5]] * rows} | ({"model": model} if model else {})).encode()
    return Record("", 0, body, {}, "/v1/models/m:predict", "v1", 200, 0.0)


NAMES = st.one_of(st.just("image"), st.integers(0, 10_000).map("user-{}".format))
MODELS = st.sampled_from([None, "m", "tuned"])
V2 = st.builds(v2, st.lists(NAMES, min_size=1, max_size=3, unique=True), st.sampled_from([3, 9, 17]), MODELS)
RECORDS = st.lists(st.one_of(V2, st.builds(v1, st.integers(1, 3), MODELS)), min_size=1, max_size=60)


@given(RECORDS, st.booleans())
def test_every_sample_of_a_set_is_seen_and_without_buckets_all_traffic_of_a_whole_set(records, buckets):
    with TemporaryDirectory() as folder:
        file = Path(folder) / "traffic.jsonl"
        file.write_bytes(b"".join(map(line, records)))
        samples, _ = sample_traffic([file], "m", form="jsonl", job=Job(buckets=buckets))
        warmed = WarmedStrata(sample.stratum for sample in without_model(samples))
        for sample in samples:
            assert exact(Record("", 0, sample.body, sample.headers, sample.path, sample.protocol, 200, 0.0)) in warmed
        if samples.coverage == 1 and not buckets:
            assert all(exact(record) in warmed for record in records)


@pytest.mark.parametrize("other", [v1(3, None), v2(["image"], 4, None), v2(["other"], 3, None)])
def test_another_shape_or_name_is_not_seen(other):
    samples = [request("v1", v1(2, None).body), request("v2", v2(["image"], 3, None).body)]
    assert exact(other) not in WarmedStrata(sample.stratum for sample in samples)


def test_an_answer_of_another_length_is_no_other_kind_of_request():
    def chat(**fields):
        said = [{"role": "user", "content": "hi"}]
        return request("openai", json.dumps({"model": "m", "messages": said} | fields).encode()).stratum

    warmed = WarmedStrata([chat(max_tokens=16)])
    assert chat(max_tokens=900) in warmed
    assert chat() in warmed
    assert chat(max_tokens=16, stream=True) not in warmed
