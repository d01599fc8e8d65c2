"""Whose failure is it, on real servers: refused requests, faults, hangs, and what a model needs and is away."""

import json

import pytest
from held_ports import free_ports
from kserve_server import NOT_STARVED, v1_body
from sample_sets import samples, save

from kserve_warmup import WarmupReport
from kserve_warmup.protocols.bodies import request

HOW_TO_WAIT = ("KSERVE_WARMUP_REQUEST_TIMEOUT", "KSERVE_WARMUP_MAX_SECONDS")


@pytest.fixture
def mixed_set(tmp_path):
    """One row in three quarters of the traffic, two in the rest."""
    one, two = samples("v1", rows=(1, 2))
    return save(tmp_path / "mixed", (one.with_weight(0.75), two.with_weight(0.25)))


def report_of(file):
    return WarmupReport.from_json(file.read_text())


def test_requests_that_the_model_refuses_are_left_out_and_named_with_their_share(start_case, mixed_set, tmp_path):
    server = start_case("RefusesTwoRows", samples=mixed_set, report=tmp_path / "report.json")
    server.wait_ready()
    assert "the model refuses 1 of 2 strata, 25.0% of the traffic" in server.log
    assert "one row at a time" in server.log
    assert "COLD" not in server.log
    (refused,) = report_of(tmp_path / "report.json").refused
    assert (refused.batch, refused.failures) == (2, 0)
    assert server.predict()[0] > 0


def test_a_server_whose_middleware_wants_a_key_is_given_it_from_a_file(start_case, v1_set, tmp_path):
    (tmp_path / "key").write_text("k\n")
    headers = json.dumps({"X-Api-Key": {"file": str(tmp_path / "key")}})
    server = start_case("Keyed", samples=v1_set, headers=headers)
    server.wait_ready()
    status, body, _ = server.post(
        "/v1/models/model:predict", v1_body(), {"x-api-key": "k", "content-type": "application/json"}
    )
    assert status == 200
    assert json.loads(body)["predictions"][0][0] > 0
    assert "refuses" not in server.log
    assert all("x-api-key" not in file.read_text() for file in v1_set.rglob("*.json"))


def test_without_the_key_the_line_names_the_variable_and_the_model_serves(start_case, v1_set):
    server = start_case("Keyed", samples=v1_set)
    server.wait_ready()
    (line,) = {line for line in server.log.splitlines() if "it is served COLD" in line}
    assert "HTTP 401" in line
    assert "KSERVE_WARMUP_HEADERS" in line


def test_without_the_key_the_model_ends_if_it_must_not_serve_without_samples(start_case, v1_set):
    code, last = start_case("Keyed", samples=v1_set, on_missing_samples="fail").outcome()
    assert code != 0
    assert "KSERVE_WARMUP_HEADERS" in last


def test_an_explainer_is_warmed_by_the_requests_that_it_explains(start_case, tmp_path):
    made = (request("v1", v1_body(), path="/v1/models/model:explain"),)
    server = start_case("Explainer", samples=save(tmp_path / "set", made))
    server.wait_ready()
    status, body, _ = server.post("/v1/models/model:explain", v1_body())
    assert status == 200
    assert json.loads(body)["predictions"][0][0] > 0


@pytest.mark.parametrize("budget", [{"request_timeout": 1}, {"max_seconds": 2}])
def test_a_hang_in_the_second_stratum_ends_the_server_with_one_line_that_says_how_to_wait(
    budget, start_case, mixed_set
):
    code, last = start_case("HangsForTwoRows", samples=mixed_set, **budget).outcome()
    assert code == 1
    assert "1 of 2 strata cannot be warmed" in last
    assert "no answer within" in last
    assert all(name in last for name in HOW_TO_WAIT)


def test_a_hang_in_the_second_stratum_leaves_the_others_warm_when_they_are_to_be_served(
    start_case, mixed_set, tmp_path
):
    server = start_case(
        "HangsForTwoRows", samples=mixed_set, request_timeout=1, on_failure="serve", report=tmp_path / "report.json"
    )
    server.wait_ready()
    report = report_of(tmp_path / "report.json")
    assert [(s.batch, s.warmed) for s in report.strata] == [(1, True), (2, False)]
    assert [s.batch for s in report.failed] == [2]
    assert "served COLD" in server.log
    assert server.predict()[0] > 0


def test_a_hang_on_the_wire_alone_ends_the_server_with_one_line_that_says_how_to_wait(start_case, v1_set):
    code, last = start_case("NeverAnswersPosts", samples=v1_set, request_timeout=1).outcome()
    assert code == 1
    assert "no answer within 1 s" in last
    assert all(name in last for name in HOW_TO_WAIT)


def test_a_hang_on_the_wire_alone_is_told_when_the_server_is_to_serve_all_the_same(start_case, v1_set):
    server = start_case("NeverAnswersPosts", samples=v1_set, request_timeout=1, on_failure="serve")
    server.wait_ready()
    assert "no answer within 1 s" in server.log
    assert "served COLD" in server.log


@pytest.mark.parametrize("protocol", ["v1", "grpc-v2"])
def test_a_transformer_waits_for_its_predictor_and_marks_what_it_sends_there(protocol, start_case, tmp_path):
    made = samples("v1" if protocol == "v1" else "v2")
    http, grpc = free_ports(2)
    options = ["--predictor_protocol", protocol, "--predictor_host", f"127.0.0.1:{http if protocol == 'v1' else grpc}"]
    server = start_case("Transformer", samples=save(tmp_path / "set", made), options=options)
    server.wait_for_log("not ready, waiting for what it needs")
    server.wait_for_log("Uvicorn running")
    assert server.get("/v2/health/live")[0] == 200
    assert server.get("/v2/models/model/ready")[0] == 503
    predictor = start_case("Counts", ports=(http, grpc))
    predictor.wait_ready()
    server.wait_ready()
    endpoint = "/v1/models/model:predict" if protocol == "v1" else "/v2/models/model/infer"
    mark = {"content-type": "application/json", "x-kserve-warmup": "true"}
    status, body, _ = server.post(endpoint, made[0].body, mark)
    assert status == 200, body
    answered = json.loads(body)
    marked, unmarked = answered["predictions"][0] if protocol == "v1" else answered["outputs"][0]["data"]
    assert marked > 0
    assert unmarked == 1  # what was sent from outside, whatever it says of itself


@pytest.mark.parametrize("target", ["FailsWhenServed", "HangsForTwoRows"])
@NOT_STARVED
def test_a_fault_in_a_worker_ends_the_whole_server_with_exit_code_1_and_one_line(target, start_case, mixed_set):
    server = start_case(target, samples=mixed_set, workers=2, request_timeout=2)
    assert server.process.wait(120) == 1
    lines = {line for line in server.log.splitlines() if line.startswith("kserve-warmup: ")}
    assert len(lines) == 1, server.log[-3000:]
    assert "cannot be warmed" in lines.pop()
    assert server.log.count("kserve-warmup: ") <= 2  # both workers may say it; no third was started
