"""Requests from what Triton and perf_analyzer write; the trace is tritonserver's own, see tests/data/README.md."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from kserve_warmup.protocols.bodies import decode
from kserve_warmup.samples.sample import TensorSpec
from kserve_warmup.sampling.formats.record import BadRecord, ReadOptions
from kserve_warmup.sampling.reader import read, sample_traffic

TRACE = Path(__file__).parents[1] / "data" / "traffic" / "triton_trace.json"


def tensors(sample) -> dict[str, list]:
    return {t.name: t.data.tolist() for t in decode(sample.protocol, sample.body, sample.headers)}


def test_a_real_trace_gives_the_shapes_of_all_requests_although_it_is_no_json():
    found = list(read([TRACE]))
    with_half = "HALF:FP16[N,1] IDS:INT64[N,1] TEXT:BYTES[N,2] X:FP32[N,2,3]"
    without = with_half.removeprefix("HALF:FP16[N,1] ")
    assert [(str(s.signature), s.batch) for s in found] == [(without, 1), (with_half, 2), (without, 2)]
    assert tensors(found[0]) == {
        "X": [[[-1, 2e6, 4e6], [6e6, 8e6, 1e7]]],
        "IDS": [[2**40]],
        "TEXT": [[b"a,b", b'"c"']],
    }
    assert tensors(found[1])["HALF"] == [[0], [0]]  # a trace does not keep it


def test_a_set_made_of_a_trace_says_that_its_values_are_not_the_real_ones():
    samples, tally = sample_traffic([TRACE], "traced")
    assert (len(samples), tally.requests) == (3, 3)
    assert "shapes, not values" in samples.selection["notes"][0]


def test_a_truncated_trace_gives_the_requests_it_has(tmp_path):
    content = TRACE.read_bytes()
    (tmp_path / "trace").write_bytes(content[: content.index(b'"id":3,"activity"') + 100])
    assert [s.batch for s in read([tmp_path / "trace"])] == [1, 2]


def test_of_a_trace_of_several_models_and_an_ensemble_only_the_requests_to_the_model_are_meant(tmp_path):
    content = TRACE.read_bytes().replace(b'"id":1,"model_name":"traced"', b'"id":1,"model_name":"other"')
    third = b'"id":3,"model_name":"traced",'
    content = content.replace(third, third + b'"parent_id":2,')
    (tmp_path / "trace").write_bytes(content)
    assert [s.batch for s in read([tmp_path / "trace"], options=ReadOptions(model="traced"))] == [2]
    (bad,) = read([tmp_path / "trace"], options=ReadOptions(model="third"))
    assert "no input tensors of third, only of other, traced" in bad.reason


def test_a_trace_without_tensors_says_what_to_do(tmp_path):
    (tmp_path / "trace").write_bytes(b'[{"id":1,"timestamps":[{"name":"REQUEST_START","ns":1}]}]')
    (bad,) = read([tmp_path / "trace"])
    assert "level=TENSORS" in bad.reason


@pytest.fixture
def raw_folder(tmp_path):
    np.arange(6, dtype="<f4").tofile(tmp_path / "X")
    (tmp_path / "TEXT").write_bytes(b"one\ntwo words\n")
    return tmp_path


SPECS = {"X": TensorSpec("X", "FP32", (2, 3)), "TEXT": TensorSpec("TEXT", "BYTES", (2,))}


def test_a_raw_folder_of_perf_analyzer_is_one_request_of_each_batch_size(raw_folder):
    options = ReadOptions(batch_sizes=(1, 2, 0), inputs=SPECS)
    one, two, bare = read([raw_folder], form="perf-analyzer-raw", options=options)
    assert tensors(one) == {"X": [[[0, 1, 2], [3, 4, 5]]], "TEXT": [[b"one", b"two words"]]}
    assert tensors(two) == {name: value * 2 for name, value in tensors(one).items()}
    assert tensors(bare) == {name: value[0] for name, value in tensors(one).items()}


def test_a_raw_folder_that_does_not_fit_the_declared_inputs_says_why(raw_folder):
    def reasons(**inputs):
        found = read([raw_folder], form="perf-analyzer-raw", options=ReadOptions(inputs=inputs))
        return " ".join(r.reason for r in found if isinstance(r, BadRecord))

    assert "declare each with --input" in reasons()
    assert "no input 'TEXT'" in reasons(X=SPECS["X"])
    assert "needs 28 bytes, but there are 24" in reasons(**SPECS | {"X": TensorSpec("X", "FP32", (7,))})
    assert "input 'TEXT'" in reasons(**SPECS | {"TEXT": TensorSpec("TEXT", "BYTES", (3,))})
    shutil.copy(raw_folder / "X", raw_folder / "Y")
    (raw_folder / "X").unlink()
    assert "No such file" in reasons(**SPECS | {"Y": TensorSpec("Y", "FP32", (6,))})
