"""Generated blocks on the real tritonserver run as written, with the recorded data, and the statistics prove it."""

import struct

import numpy as np
import pytest
from triton_repository import OUTPUT, Repository, X, infer, sample, tensor

from kserve_warmup.errors import TritonConfigError, WarmupFailedError
from kserve_warmup.protocols.bodies import Tensor
from kserve_warmup.triton.prove import prove
from kserve_warmup.triton.tritonserver import TritonServer

CONTROLS = """
sequence_batching { control_input [
  { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },
  { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY int32_false_true: [ 0, 1 ] } ] },
  { name: "END" control [ { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } ] },
  { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] }
] }
"""


def fill(repository):
    """Add a model of each kind; return their names."""
    batching = OUTPUT + X + "max_batch_size: 8\n"
    repository.add(
        "batcher",
        batching + "dynamic_batching { preferred_batch_size: [ 4 ] }",
        sample(tensor(1), weight=0.7),
        sample(tensor(2), protocol="grpc", weight=0.3),
    )
    repository.add("two_instances", batching + "instance_group [ { kind: KIND_CPU count: 2 } ]", sample(tensor(3)))
    repository.add("unbatched", OUTPUT + X.replace("[ 4 ]", "[ -1, 4 ]"), sample(tensor(5), protocol="v2"))
    strings = X.replace("FP32", "STRING").replace("[ 4 ]", "[ 2 ]")
    text = Tensor("X", "BYTES", np.array([[b"caf\xc3\xa9 \xff\0", b""]], dtype=object))
    repository.add("strings", OUTPUT + strings + "max_batch_size: 4", sample(text))
    half = tensor(1, datatype="FP16", dtype=np.float16)
    repository.add("half", OUTPUT + X.replace("FP32", "FP16") + "max_batch_size: 4", sample(half))
    optional = "input [ { name: 'T' data_type: TYPE_INT64 dims: [ 1 ] optional: true } ]\n"
    with_t = (tensor(1), tensor(1, 1, "INT64", "T", np.int64))
    repository.add(
        "optional", batching + optional, sample(tensor(1), weight=0.6), sample(*with_t, weight=0.4), names=("X", "T")
    )
    decoupled = batching + "model_transaction_policy { decoupled: true }"
    repository.add("decoupled", decoupled, sample(tensor(2)), decoupled=True)
    repository.add("sequence", batching + CONTROLS, sample(tensor(1)), names=("X", "START", "READY", "END", "CORRID"))
    reshaped = batching.replace("dims: [ 4 ] }", "dims: [ 4 ] reshape { shape: [ 2, 2 ] } }")
    repository.add("reshaped", reshaped, sample(tensor(1)))
    crlf = ("# caf\u00e9 {\n" + batching).replace("\n", "\r\n").rstrip()
    repository.add("crlf", "", sample(tensor(1))).joinpath("config.pbtxt").write_bytes(crlf.encode("latin-1"))
    return sorted(folder.name for folder in repository.models.iterdir())


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A server that has just loaded one model of each kind, with generated warm-up; and the repository."""
    repository = Repository(tmp_path_factory.mktemp("generated"))
    names = fill(repository)
    repository.generate(count=3)
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        yield server, repository, names


def test_the_statistics_prove_every_model(served):
    server, repository, names = served
    assert sorted(proof.model for proof in prove(repository.models, server.http_url, [])) == names


def test_a_block_of_n_is_one_call_with_n_equal_requests_of_one_row(served):
    _, repository, _ = served
    calls = repository.calls("two_instances")
    row = {"X": {"shape": [1, 4], "data": list(struct.pack("<4f", 0.5, 1.5, 2.5, 3.5))}}
    assert calls == [[row, row, row]] * 6  # count 3 on each of two instances


def test_every_batch_size_runs_heaviest_traffic_first_then_what_the_batcher_aims_at(served):
    _, repository, _ = served
    assert [len(call) for call in repository.calls("batcher")] == [1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8]


def test_a_model_without_batching_is_given_the_recorded_shape(served):
    _, repository, _ = served
    given = repository.calls("unbatched")
    assert [[r["X"]["shape"] for r in call] for call in given] == [[[5, 4]]] * 3


def test_strings_arrive_byte_for_byte(served):
    _, repository, _ = served
    (request,) = repository.calls("strings")[0]
    assert [bytes(value) for value in request["X"]["data"]] == [b"caf\xc3\xa9 \xff\0", b""]


def test_half_precision_arrives_byte_for_byte(served):
    _, repository, _ = served
    assert bytes(repository.calls("half")[0][0]["X"]["data"]) == struct.pack("<4e", 0.5, 1.5, 2.5, 3.5)


def test_an_optional_input_is_left_out_in_one_block_and_given_in_the_other(served):
    _, repository, _ = served
    assert [sorted(call[0]) for call in repository.calls("optional")] == [["X"]] * 3 + [["T", "X"]] * 3


def test_a_reshaped_input_arrives_in_the_models_shape(served):
    _, repository, _ = served
    assert repository.calls("reshaped")[0][0]["X"]["shape"][-2:] == [2, 2]


def test_a_sequence_is_started_and_ended_by_its_one_request(served):
    _, repository, _ = served
    ((request,),) = repository.calls("sequence")
    assert bytes(request["START"]["data"]) == struct.pack("<f", 1)
    assert bytes(request["READY"]["data"]) == struct.pack("<i", 1)
    assert bytes(request["END"]["data"]) == b"\x01"
    assert bytes(request["CORRID"]["data"]) == struct.pack("<Q", 1)


@pytest.fixture
def one(tmp_path):
    """A repository of one model with generated warm-up."""
    repository = Repository(tmp_path)
    repository.add("m", OUTPUT + X + "max_batch_size: 8\n", sample(tensor(2)))
    repository.generate(count=3)
    return repository


def config_of(repository):
    return repository.models / "m" / "config.pbtxt"


def test_default_counts_run_on_every_instance_and_those_of_a_sequence_once(tmp_path):
    repository = Repository(tmp_path)
    fill(repository)
    plan = repository.generate("batcher", "two_instances", "unbatched", "sequence")
    arguments = ["--model-control-mode=explicit", *(f"--load-model={model.name}" for model in plan.models)]
    with TritonServer(repository.models, arguments, env=repository.env) as server:
        server.wait_ready()
        proofs = prove(repository.models, server.http_url, [model.name for model in plan.models])
    batches = {proof.model: proof.counts.batches for proof in proofs}
    assert batches == {
        "batcher": ((1, 6), (2, 2), (4, 2), (8, 2)),  # the first block pays what the process pays once
        "two_instances": ((3, 6),),
        "unbatched": ((1, 3),),
        "sequence": ((1, 1),),
    }


def test_requests_after_the_load_are_no_proof(one):
    with TritonServer(one.models, env=one.env) as server:
        server.wait_ready()
        assert prove(one.models, server.http_url, ["m"])[0].counts.inferences == 6
        assert infer(server, "m")[0] == 200
        with pytest.raises(WarmupFailedError, match=r"7 inferences in 4 executions.*requests came after the load"):
            prove(one.models, server.http_url, [])


def test_a_count_that_was_tampered_with_is_caught(one):
    with TritonServer(one.models, env=one.env) as server:
        server.wait_ready()
        config_of(one).write_text(config_of(one).read_text().replace("count: 3", "count: 4"))
        with pytest.raises(WarmupFailedError, match=r"another model_warmup than config\.pbtxt holds"):
            prove(one.models, server.http_url, [])


def test_warm_up_that_did_not_run_is_caught(one):
    arguments = ["--model-control-mode=explicit"]
    with TritonServer(one.models, arguments, env=one.env) as server:
        server.wait_ready()
        with pytest.raises(WarmupFailedError, match="load it first"):
            prove(one.models, server.http_url, [])


def test_a_server_that_is_gone_is_one_clear_line(one):
    with TritonServer(one.models, env=one.env) as server:
        server.wait_ready()
    with pytest.raises(WarmupFailedError, match="no answer from"):
        prove(one.models, server.http_url, [])


def test_a_model_without_warm_up_has_nothing_to_prove(one):
    one.add("bare", OUTPUT + X)
    with TritonServer(one.models, env=one.env) as server:
        server.wait_ready()
        assert [proof.model for proof in prove(one.models, server.http_url, [])] == ["m"]
        with pytest.raises(TritonConfigError, match="no model_warmup to prove"):
            prove(one.models, server.http_url, ["bare"])


def test_a_data_file_cut_short_keeps_the_server_from_getting_ready(one):
    (data,) = (one.models / "m" / "warmup").iterdir()
    data.write_bytes(data.read_bytes()[:-1])
    with TritonServer(one.models, env=one.env) as server, pytest.raises(WarmupFailedError, match="only has 15 bytes"):
        server.wait_ready()


def test_a_created_configuration_loads_and_warms(tmp_path):
    repository = Repository(tmp_path)
    repository.add("m", "", sample(tensor(2)))
    config_of(repository).unlink()
    repository.generate(create=True, count=2)
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        assert prove(repository.models, server.http_url, ["m"])[0].counts.inferences == 4


def test_removing_warm_up_leaves_a_model_that_loads_cold(one):
    from kserve_warmup.triton.repository import apply_all, plan_repository_removal

    apply_all(plan_repository_removal(one.models, []).changed)
    with TritonServer(one.models, env=one.env) as server:
        server.wait_ready()
        assert one.calls("m") == []
