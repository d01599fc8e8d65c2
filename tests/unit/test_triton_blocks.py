"""Which blocks a model gets, and what is in their data files."""

import json
import struct

import numpy as np
import pytest
from triton_models import PLAIN, generate, model, sample, save, warmups, x

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.bodies import Tensor, request
from kserve_warmup.triton.model_config import parse


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def sets(tmp_path):
    return tmp_path / "samples"


def batches(folder):
    return [batch for batch, _, _ in warmups(folder)]


def test_batch_sizes_come_from_the_traffic_heaviest_first(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x(2), weight=0.2), sample(x(4), weight=0.7), sample(x(1), weight=0.1))
    generate(repository, sets)
    assert batches(folder) == [4, 2, 1]


def test_a_dynamic_batcher_adds_the_sizes_that_it_aims_at(repository, sets):
    folder = model(repository, "m", PLAIN + "dynamic_batching { preferred_batch_size: [ 2, 4 ] }")
    save(sets, "m", sample(x(1), weight=0.9), sample(x(4), weight=0.1))
    generate(repository, sets)
    assert batches(folder) == [1, 4, 2, 8]


def test_batch_sizes_can_be_given(repository, sets):
    folder = model(repository, "m", PLAIN + "dynamic_batching { }")
    save(sets, "m", sample(x(1)))
    generate(repository, sets, batch_sizes=(1, 3))
    assert batches(folder) == [1, 3]


def test_the_rarest_traffic_gives_way_to_the_limit(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", *(sample(x(n), weight=w) for n, w in ((1, 0.2), (2, 0.5), (3, 0.3))))
    plan = generate(repository, sets, max_blocks=2)
    assert batches(folder) == [2, 3]
    assert plan.models[0].coverage == pytest.approx(0.8)


def test_protocols_of_the_same_inputs_share_a_block(repository, sets):
    folder = model(repository, "m")
    made = [sample(x(), protocol=p, weight=0.25) for p in ("v2", "v2-binary", "grpc")]
    save(sets, "m", *made, sample(Tensor("instances", "INT64", np.array([[0, 1, 2, 3]])), protocol="v1", weight=0.25))
    generate(repository, sets)
    assert batches(folder) == [1]


def test_a_data_file_is_one_row_in_little_endian(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x(2)))
    generate(repository, sets)
    assert warmups(folder) == [(2, 3, {"X": ([4], struct.pack("<4f", 0, 1, 2, 3))})]


def test_a_model_without_batching_gets_the_full_shape_and_batch_size_one(repository, sets):
    config = "input [ { name: 'X' data_type: TYPE_FP32 dims: [ -1, 4 ] } ]"
    folder = model(repository, "m", config)
    save(sets, "m", sample(x(2), weight=0.6), sample(x(3), weight=0.4))
    generate(repository, sets)
    assert warmups(folder) == [
        (1, 4, {"X": ([2, 4], struct.pack("<8f", *range(8)))}),
        (1, 2, {"X": ([3, 4], struct.pack("<12f", *range(12)))}),
    ]


def test_strings_carry_their_lengths_whatever_bytes_they_are(repository, sets):
    folder = model(repository, "m", "max_batch_size: 4 input [ { name: 'T' data_type: TYPE_STRING dims: [ 2 ] } ]")
    rows = np.array([[b"a\xff\0", b""], [b"b", b"c"]], dtype=object)
    save(sets, "m", sample(Tensor("T", "BYTES", rows), protocol="grpc"))
    generate(repository, sets)
    assert warmups(folder)[0][2]["T"] == ([2], b"\x03\0\0\0a\xff\0\0\0\0\0")


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT16", "UINT32", "INT64", "FP16", "BF16", "FP64"])
def test_every_type_fills_its_dims_exactly(repository, sets, datatype):
    from kserve_warmup.protocols.tensors import to_dtype

    folder = model(
        repository, "m", f"max_batch_size: 4 input [ {{ name: 'X' data_type: TYPE_{datatype} dims: [ 4 ] }} ]"
    )
    save(sets, "m", sample(x(2, dtype=to_dtype(datatype), datatype=datatype), protocol="v2-binary"))
    generate(repository, sets)
    assert len(warmups(folder)[0][2]["X"][1]) == 4 * to_dtype(datatype).itemsize


def v1(*instances):
    return request("v1", json.dumps({"instances": list(instances)}).encode())


@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("TYPE_FP32", [0.1, 2, 3, 4], struct.pack("<4f", 0.1, 2, 3, 4)),
        ("TYPE_FP16", [1, 2, 3, 4], struct.pack("<4e", 1, 2, 3, 4)),
        ("TYPE_UINT8", [0, 1, 2, 255], bytes([0, 1, 2, 255])),
        ("TYPE_INT32", [1.0, 2.0, -3.0, 4.0], struct.pack("<4i", 1, 2, -3, 4)),
    ],
)
def test_json_numbers_take_the_models_type(repository, sets, declared, values, expected):
    folder = model(repository, "m", PLAIN.replace("TYPE_FP32", declared))
    save(sets, "m", v1(values))
    generate(repository, sets)
    assert warmups(folder)[0][2] == {"X": ([4], expected)}


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ("TYPE_UINT8", [0, 1, 2, 256]),
        ("TYPE_UINT64", [0, 1, 2, -1]),
        ("TYPE_INT32", [0, 1, 2, 0.5]),
        ("TYPE_FP32", [0, 1, 2, 16777217]),
        ("TYPE_FP16", [0.5, 1, 2, 1e6]),
    ],
)
def test_json_numbers_that_do_not_fit_are_refused(repository, sets, declared, values):
    model(repository, "m", PLAIN.replace("TYPE_FP32", declared))
    save(sets, "m", v1(values))
    with pytest.raises(TritonConfigError, match=r"model m: sample .*'instances'.*do not fit"):
        generate(repository, sets)


def test_a_json_column_fills_an_input_of_one_element(repository, sets):
    folder = model(repository, "m", "max_batch_size: 4 input [ { name: 'X' data_type: TYPE_FP32 dims: [ 1 ] } ]")
    save(sets, "m", v1(1.5, 2.5))
    generate(repository, sets)
    assert warmups(folder) == [(2, 3, {"X": ([1], struct.pack("<f", 1.5))})]


def test_an_optional_input_may_be_missing_and_is_a_block_of_its_own(repository, sets):
    optional = "input [ { name: 'T' data_type: TYPE_INT64 dims: [ 1 ] optional: true } ]"
    folder = model(repository, "m", PLAIN + optional)
    with_it = sample(x(), x(width=1, dtype=np.int64, datatype="INT64", name="T"), weight=0.3)
    save(sets, "m", sample(x(), weight=0.7), with_it)
    generate(repository, sets)
    assert [sorted(inputs) for _, _, inputs in warmups(folder)] == [["X"], ["T", "X"]]


def test_reshape_takes_the_dims_of_requests(repository, sets):
    folder = model(repository, "m", PLAIN.replace("dims: [ 4 ] }", "dims: [ 4 ] reshape { shape: [ 2, 2 ] } }", 1))
    save(sets, "m", sample(x()))
    generate(repository, sets)
    assert warmups(folder)[0][2]["X"][0] == [4]


def test_a_sequence_model_gets_its_controls_and_runs_each_block_once(repository, sets):
    controls = """
    sequence_batching { control_input [
      { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
      { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] },
      { name: "END" control [ { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } ] },
      { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
    ] }"""
    folder = model(repository, "m", PLAIN + controls)
    save(sets, "m", sample(x()))
    generate(repository, sets)
    ((batch, count, inputs),) = warmups(folder)
    assert (batch, count) == (1, 1)
    assert inputs["START"] == ([1], struct.pack("<f", 1))
    assert inputs["READY"] == ([1], struct.pack("<i", 1))
    assert inputs["END"] == ([1], b"\x01")
    assert inputs["CORRID"] == ([1], struct.pack("<Q", 1))


def test_equal_data_is_one_file(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x(1), weight=0.6), sample(x(2), weight=0.4))
    generate(repository, sets)
    assert len(list((folder / "warmup").iterdir())) == 1


def test_block_names_are_unique_and_escaped(repository, sets):
    name = 'X"\\\n{é'
    escaped = '"X\\"\\\\\\n{\\303\\251"'
    folder = model(repository, "m", PLAIN.replace('"X"', escaped))
    save(sets, "m", sample(x(1, name=name), weight=0.6), sample(x(2, name=name), weight=0.4))
    generate(repository, sets)
    blocks = parse((folder / "config.pbtxt").read_bytes()).model_warmup
    assert len({block.name for block in blocks}) == 2
    assert all(list(block.inputs) == [name] for block in blocks)


def test_much_data_in_memory_is_announced(repository, sets):
    model(repository, "m", PLAIN.replace("[ 4 ]", "[ -1 ]") + "instance_group [ { count: 300 } ]")
    save(sets, "m", sample(x(1, width=300_000), protocol="v2-binary"))
    (plan,) = generate(repository, sets).models
    assert [len(inputs["X"][1]) for _, _, inputs in warmups(repository / "m")] == [1_200_000]
    assert "343 MiB" in plan.warning
