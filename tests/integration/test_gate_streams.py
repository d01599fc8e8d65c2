"""The gate before models of a real tritonserver that answer no plain request: decoupled ones, generate's, sequences."""

import json
from itertools import groupby

import pytest
import stream_models as models
from gate_process import GateProcess
from held_ports import free_ports
from stream_models import ask, generate, save, sequences
from triton_repository import Repository, post

from kserve_warmup.triton.tritonserver import TritonServer

ENSEMBLE = """platform: "ensemble"
max_batch_size: 8
input [ { name: "X" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [ { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling { step [ { model_name: "direct" model_version: -1
  input_map { key: "X" value: "X" } output_map { key: "Y" value: "Y" } } ] }
"""
BATCHERS = {
    "direct": (models.DIRECT, None),
    "numbered": (models.OLDEST, "TYPE_INT32"),
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    made = Repository(tmp_path_factory.mktemp("streams"))
    models.add(made, "decoupled", models.OUTPUT + models.X + models.DECOUPLED, models.ANY_NUMBER)
    models.add(made, "words", models.TEXT + models.DECOUPLED, models.WORDS)
    for name, batcher in BATCHERS.items():
        models.add(made, name, models.OUTPUT + models.X + sequences(*batcher), models.SUMS)
    (made.models / "pipeline" / "1").mkdir(parents=True)
    (made.models / "pipeline" / "config.pbtxt").write_text(ENSEMBLE)
    return made


@pytest.fixture(scope="module")
def server(repository):
    arguments = ["--http-restricted-api=model-config:key=open"]
    with TritonServer(repository.models, arguments, env=repository.env) as running:
        running.wait_ready()
        yield running


@pytest.fixture
def told(repository):
    """Return what a model has noted since the test began."""
    before = {file.name: file.stat().st_size for file in repository.calls_folder.iterdir()}

    def read(model):
        text = (repository.calls_folder / model).read_bytes()[before.get(model, 0) :]
        return [json.loads(line) for line in text.splitlines()]

    return read


def gated(server, folder, *options, url=None, grpc=None, phase="ready"):
    """Return the state, the report and the log of a gate once it has judged."""
    where = (url or server.http_url, folder, "--grpc", grpc or server.grpc_url)
    with GateProcess(*where, "--max-seconds", 3, "--header", "key: open", *options) as gate:
        state = gate.wait(lambda s: s["phase"] in ("ready", "failed"))
        report = json.loads(gate.get("/report")[1])
        log = gate.stop()
    assert state["phase"] == phase, log
    return state, report, log


def test_a_decoupled_model_is_asked_over_the_stream_until_its_last_response_whatever_the_sample_was_recorded_on(
    server, told, tmp_path
):
    recorded = [ask(2, priority=1), ask(3, protocol="v2-binary"), ask(1, protocol="grpc")]
    _, report, _ = gated(server, save(tmp_path, "decoupled", *recorded))

    notes = told("decoupled")
    assert {s["protocol"] for s in report["strata"]} == {"v2", "v2-binary", "grpc"}
    assert not any(s["error"] for s in report["strata"])
    assert report["transport"] == "grpc stream"
    assert {n["begun"] for n in notes if "begun" in n} == {1, 2, 3}
    assert sum("begun" in n for n in notes) == sum("ended" in n for n in notes) >= report["calls"]


def test_the_latency_of_a_decoupled_model_is_that_of_its_first_response(server, tmp_path):
    _, report, _ = gated(server, save(tmp_path, "decoupled", ask(5)))

    (stratum,) = report["strata"]
    assert min(stratum["latencies_ms"]) < 4 * 50  # its last response comes 200 ms after its first


def test_a_request_without_any_response_is_an_answer_too(server, tmp_path):
    _, report, _ = gated(server, save(tmp_path, "decoupled", ask(0)))
    (stratum,) = report["strata"]
    assert stratum["error"] is None
    assert stratum["calls"] >= 2


def test_over_grpc_alone_the_configuration_is_asked_for_there(server, tmp_path):
    _, report, _ = gated(server, save(tmp_path, "decoupled", ask(1, protocol="grpc")), url=f"grpc://{server.grpc_url}")
    assert report["transport"] == "grpc stream"


def test_what_a_decoupled_model_refuses_is_left_out_and_what_it_fails_on_is_a_fault(server, tmp_path):
    state, _, log = gated(server, save(tmp_path, "decoupled", ask(1), ask(1, width=3)))
    assert "1 refused" in state["detail"]
    assert "unexpected shape for input 'X'" in log

    _, _, log = gated(server, save(tmp_path, "decoupled", ask(99)), phase="failed")
    assert "no 99" in log


def test_without_grpc_a_line_says_which_option_to_give(server, tmp_path):
    (shut,) = free_ports(1)
    folder = save(tmp_path, "decoupled", ask(1))
    _, _, log = gated(server, folder, "--max-seconds", 20, grpc=f"127.0.0.1:{shut}", phase="failed")
    assert "decoupled is decoupled, so that its requests go over gRPC's stream, not over HTTP" in log
    assert "--grpc HOST:PORT" in log


@pytest.mark.parametrize("model", ["decoupled", "direct"])
def test_where_the_server_does_not_tell_the_configuration_the_line_says_what_is_missing(server, tmp_path, model):
    folder = save(tmp_path, model, ask(1, sequence_id=7))
    where = (server.http_url, folder, "--grpc", server.grpc_url)
    with GateProcess(*where, "--max-seconds", 3, "--on-failure", "serve") as gate:
        gate.wait_phase("ready")
        log = gate.stop()
    assert "how this model wants to be asked is in its configuration, which the server does not tell" in log
    assert f"GET /v2/models/{model}/config: HTTP 403" in log


def test_generate_is_asked_as_it_was_recorded_and_may_have_nothing_to_say(server, told, tmp_path):
    once, many, none = (
        generate("1", "generate"),
        generate("3", "generate_stream"),
        generate("0", "generate_stream", a=True),
    )
    _, report, _ = gated(server, save(tmp_path, "words", once, many, none))
    assert not any(s["error"] for s in report["strata"])
    assert {n["asked"] for n in told("words")} == {0, 1, 3}


def test_an_error_that_generate_answers_with_200_is_no_success(server, tmp_path):
    state, _, log = gated(server, save(tmp_path, "words", generate("1", "generate"), generate("2", "generate", b=True)))
    assert "1 refused" in state["detail"]
    assert "expects model to produce exactly 1 response" in log


def whole_sequences(notes):
    """Return the steps of each sequence, checked: opened, gone through and closed, and never another of that id."""
    runs = [list(steps) for _, steps in groupby(sorted(notes, key=lambda n: str(n["id"])), lambda n: n["id"])]
    for steps in runs:
        assert [s["start"] for s in steps] == [True] + [False] * (len(steps) - 1)
        assert [s["end"] for s in steps] == [False] * (len(steps) - 1) + [True]
    return runs


@pytest.mark.parametrize("model", [*BATCHERS, "pipeline"])
def test_a_step_from_mid_sequence_is_sent_in_a_whole_one_and_no_sequence_is_left_open(server, told, tmp_path, model):
    _, report, _ = gated(server, save(tmp_path, model, ask(2, sequence_id=7)))

    strata = {tuple(part for part in ("start", "end") if f"sequence_{part}" in s["variant"]) for s in report["strata"]}
    runs = whole_sequences(told("direct" if model == "pipeline" else model))
    assert strata == {("start",), (), ("end",)}
    assert len(runs) >= report["calls"]
    assert all(len(steps) == 4 for steps in runs)
    assert 7 not in {steps[0]["id"] for steps in runs}
    assert next_user(server, model, 7) == 2


def next_user(server, model, name):
    """Return the sum of a sequence of one step: of its own number alone, and at once, since no place is held."""
    flags = {"sequence_id": name, "sequence_start": True, "sequence_end": True}
    status, answer = post(f"{server.http_url}/v2/models/{model}/infer", json.loads(ask(2, **flags).body))
    assert status == 200, answer
    return json.loads(answer)["outputs"][0]["data"][0]


def test_recorded_sequences_are_sent_in_the_order_of_their_steps(server, told, tmp_path):
    recorded = [
        ask(30, sequence_id=7, sequence_end=True),
        ask(20, sequence_id=7),
        ask(10, sequence_id=7, sequence_start=True),
        ask(1, sequence_id=8, sequence_start=True, sequence_end=True),
    ]
    gated(server, save(tmp_path, "numbered", *recorded))
    assert {tuple(s["x"] for s in steps) for steps in whole_sequences_or_one(told("numbered"))} == {
        (10, 20, 20, 30),
        (10, 20, 30),
        (1,),
    }


def whole_sequences_or_one(notes):
    alone = [n for n in notes if n["start"] and n["end"]]
    return [*whole_sequences([n for n in notes if n not in alone]), *([n] for n in alone)]


def test_a_sequence_that_fails_half_way_is_closed(server, told, tmp_path):
    recorded = [
        ask(1, sequence_id=7, sequence_start=True),
        ask(13, sequence_id=7),
        ask(2, sequence_id=7, sequence_end=True),
    ]
    _, _, log = gated(server, save(tmp_path, "direct", *recorded), phase="failed")

    assert "step 2 of 4 of its sequence (in the middle): HTTP 500" in log
    assert told("direct")[-1]["open"] == 0
    whole_sequences(told("direct"))
    assert next_user(server, "direct", 9) == 2
