"""How tritonserver treats hand-written model_warmup: the silences that the generator's checks exist for."""

import struct

import pytest
from triton_repository import OUTPUT, Repository, X, infer, load

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.triton.tritonserver import TritonServer

BATCHING = OUTPUT + X + "max_batch_size: 8\n"
DATA = struct.pack("<4f", 1, 2, 3, 4)


def block(data, *, name="X", batch=1, count=1, dims="[ 4 ]", kind="TYPE_FP32"):
    given = f"inputs {{ key: '{name}' value {{ data_type: {kind} dims: {dims} {data} }} }}"
    return f"model_warmup {{ name: 'by hand' batch_size: {batch} count: {count} {given} }}\n"


def from_file(name="data"):
    return f"input_data_file: '{name}'"


def with_file(folder, data=DATA):
    (folder / "warmup").mkdir()
    (folder / "warmup" / "data").write_bytes(data)


@pytest.fixture(scope="module")
def server_and_repository(tmp_path_factory):
    repository = Repository(tmp_path_factory.mktemp("facts"))
    with TritonServer(repository.models, ["--model-control-mode=explicit"], env=repository.env) as server:
        server.wait_ready()
        yield server, repository


@pytest.fixture
def loaded(server_and_repository):
    """Load a hand-written model and return the calls that its warm-up made."""
    server, repository = server_and_repository

    def _loaded(name, config, data=None, names=("X",)):
        folder = repository.add(name, config, names=names)
        if data is not None:
            with_file(folder, data)
        assert load(server, name)[0] == 200
        return repository.calls(name)

    return _loaded


def test_a_batch_size_of_zero_is_skipped_without_a_word_even_if_its_file_is_missing(loaded):
    assert loaded("zero", BATCHING + block(from_file("missing"), batch=0)) == []


def test_a_count_of_zero_means_one(loaded):
    assert len(loaded("count_zero", BATCHING + block(from_file(), count=0), DATA)) == 1


def test_a_file_that_is_too_long_is_cut_without_a_word(loaded):
    ((given,),) = loaded("long", BATCHING + block(from_file()), DATA + b"more")
    assert bytes(given["X"]["data"]) == DATA


def test_random_data_false_is_random_all_the_same(loaded):
    ((given,),) = loaded("random", BATCHING + block("random_data: false"))
    assert any(given["X"]["data"])


def test_an_unknown_input_is_delivered_without_a_word(loaded):
    two = block(from_file()).replace(
        "inputs {", "inputs { key: 'TYPO' value { data_type: TYPE_FP32 dims: 1 zero_data: true } } inputs {"
    )
    ((given,),) = loaded("typo", BATCHING + two, DATA, names=("X", "TYPO"))
    assert sorted(given) == ["TYPO", "X"]


def test_a_data_file_may_lead_out_of_the_warmup_folder(loaded, server_and_repository):
    (server_and_repository[1].models / "outside").write_bytes(DATA)
    ((given,),) = loaded("outside_file", BATCHING + block(from_file("../../outside")), b"")
    assert bytes(given["X"]["data"]) == DATA


def test_a_model_that_was_warmed_by_hand_still_answers(loaded, server_and_repository):
    loaded("answers", BATCHING + block(from_file()), DATA)
    assert infer(server_and_repository[0], "answers")[0] == 200


@pytest.mark.parametrize(
    ("config", "data"),
    [
        pytest.param(BATCHING + block(from_file()), DATA[:-1], id="a file that is too short"),
        pytest.param(BATCHING + block(from_file("missing")), None, id="a missing file"),
        pytest.param(BATCHING + block(from_file(), dims="[ -1 ]"), DATA, id="an unknown dimension"),
        pytest.param(BATCHING + X.replace("X", "R") + block(from_file()), DATA, id="a missing required input"),
        pytest.param(
            OUTPUT + X.replace("FP32", "STRING") + "max_batch_size: 8\n" + block(from_file(), kind="TYPE_STRING"),
            b"\x01\0\0\0a" * 4 + b"more",
            id="bytes after the last string",
        ),
        pytest.param(
            "platform: 'ensemble'\n"
            + OUTPUT.split("\n", 1)[1]
            + X
            + block("zero_data: true")
            + "ensemble_scheduling { step [ { model_name: 'inner' model_version: -1 input_map { key: 'X' value: 'X' } "
            "output_map { key: 'Y' value: 'Y' } } ] }",
            None,
            id="an ensemble",
        ),
    ],
)
def test_the_server_does_not_get_ready_with(tmp_path, config, data):
    repository = Repository(tmp_path)
    repository.add("inner", OUTPUT + X)
    folder = repository.add("m", config)
    if data is not None:
        with_file(folder, data)
    with TritonServer(repository.models, env=repository.env) as server, pytest.raises(WarmupFailedError, match="code"):
        server.wait_ready()
