"""What works with ``kserve.Model`` works when the base class is changed: what belongs to a thread, or comes late."""

import json
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from kserve_server import NOT_STARVED, ONE_AND_TWO, v1_body
from sample_sets import samples, save

V2_BODY = json.dumps(
    {"id": "7", "inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
).encode()


@pytest.fixture
def backend():
    """Something that a model's own client asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


BOUND = ("LazySqlite", "LazyLoop", "FallsBackToItsOwnLoop", "SetsSignals", "LoadsSqlite", "SetsForItsThread")


def predict_each(server, count=1):
    """Return the fewest calls that were made before the requests to each model."""
    for target in BOUND:
        server.wait_ready(target.lower())
    return min(server.predict(target.lower())[0] for target in BOUND * count)


def test_the_control_answers_what_belongs_to_its_thread_or_loop_and_is_cold(start_case):
    assert predict_each(start_case(",".join(BOUND), CONTROL=1)) == 0


@pytest.mark.parametrize("workers", ONE_AND_TWO)
def test_what_belongs_to_the_thread_or_loop_that_serves_is_made_there(workers, start_case, v1_set):
    server = start_case(",".join(BOUND), samples=v1_set, workers=workers)
    assert predict_each(server, 2 * workers) > 0


def test_a_model_that_declares_its_inputs_and_has_no_set_answers_users_after_the_made_up_requests(start_case):
    server = start_case("DeclaredSqlite")
    server.wait_ready()
    status, body, _ = server.post("/v2/models/model/infer", V2_BODY)
    assert status == 200, body
    assert json.loads(body)["outputs"][0]["data"][0] > 0


def test_a_model_that_records_its_requests_answers_on_the_second_start_as_on_the_first(start_case, tmp_path):
    for earlier in (False, True):
        server = start_case("LazySqlite", capture_dir=tmp_path / "seen", capture_rate=1)
        server.wait_ready()
        assert (server.predict()[0] > 0) == earlier
        assert server.predict()[0] > 0
        server.process.terminate()
        server.process.wait(20)


def test_with_on_failure_serve_a_lazy_connection_is_the_serving_threads_too(start_case, v1_set):
    server = start_case("LazySqlite", samples=v1_set, on_failure="serve")
    server.wait_ready()
    assert server.predict()[0] > 0
    assert "COLD" not in server.log


def test_a_background_task_that_the_first_request_makes_lives_on(start_case, v1_set):
    server = start_case("LazyTask", samples=v1_set)
    server.wait_ready()
    seen = [server.predict() for _ in range(5)]
    assert all(waiting <= 1 for _, waiting in seen)
    assert seen[-1][0] >= seen[0][0] + 3 > 3


@pytest.mark.parametrize("kind", ["init", "load"])
@pytest.mark.parametrize("control", [True, False])
def test_locks_and_clients_made_before_the_server_runs_work_in_requests(kind, control, start_case, v1_set, backend):
    server = start_case("Holds", samples=v1_set, KIND=kind, BACKEND=backend, **({"CONTROL": 1} if control else {}))
    server.wait_ready()
    before, _ = server.predict()
    assert (before > 0) is not control
    assert server.predict()[0] == before + 1


@pytest.mark.parametrize(("workers", "control"), [(1, True), (1, False), pytest.param(2, False, marks=NOT_STARVED)])
def test_what_is_set_up_between_load_and_serving_is_there_when_models_are_warmed(workers, control, start_case, v1_set):
    server = start_case(
        "NeedsStartUp,NeedsMain", samples=v1_set, workers=workers, **({"CONTROL": 1} if control else {})
    )
    for model, set_up in (("needsstartup", 10), ("needsmain", 5)):
        server.wait_ready(model)
        status, body, _ = server.post(f"/v1/models/{model}:predict", v1_body())
        assert status == 200, body
        late, calls, _ = json.loads(body)["predictions"][0]
        assert late == set_up
        assert control or calls > 0


def test_a_first_call_of_three_seconds_is_waited_for(start_case, v1_set):
    server = start_case("SlowFirst", samples=v1_set, max_seconds=10)
    server.wait_ready()
    assert server.predict()[0] > 1
    assert "no answer" not in server.log


def test_a_request_that_waits_for_what_comes_with_the_server_is_interrupted_in_load_and_answered_later(
    start_case, v1_set
):
    server = start_case("WaitsForStartUp", samples=v1_set, request_timeout=2)
    server.wait_ready()
    assert server.predict()[0] > 0


def test_an_un_awaited_coroutine_is_a_fault_as_it_is_for_users(start_case, v1_set):
    control = start_case("UnAwaited", CONTROL=1)
    code, last = start_case("UnAwaited", samples=v1_set).outcome()
    assert (code, "cannot be warmed" in last) == (1, True)
    control.wait_ready()
    assert control.post("/v1/models/model:predict", v1_body())[0] == 500


def test_a_component_of_another_model_answers_in_warm_up_and_afterwards(start_case, v1_set):
    server = start_case("Outer", samples=v1_set)
    server.wait_ready()
    assert server.predict()[0] > 0


def test_a_model_registered_under_another_name_is_warmed_there(start_case, v1_set):
    server = start_case("LazySqlite", samples=v1_set, ALIAS="other")
    server.wait_ready("other")
    assert server.predict("other")[0] > 0


@pytest.mark.parametrize("target", ["MadeWhenAsked", "MadeWhenAskedPlain"])
def test_a_model_made_while_the_server_runs_is_warm_before_it_is_ready(target, start_case, v1_set):
    server = start_case("-", samples=v1_set, MAKES=target)
    deadline = time.monotonic() + 60
    while server.get("/v2/health/live") is None:
        assert time.monotonic() < deadline, server.log
        time.sleep(0.1)
    status, body, _ = server.post("/v2/repository/models/model/load", b"")
    assert status == 200, body
    server.wait_ready()
    assert server.predict()[0] > 0


def test_two_models_in_one_server_are_warmed_with_their_own_sets(start_case, tmp_path):
    save(tmp_path / "sets" / "lazysqlite", samples("v1", rows=(1,)), "lazysqlite")
    save(tmp_path / "sets" / "lazytask", samples("v1", rows=(3,)), "lazytask")
    server = start_case("LazySqlite,LazyTask", samples=tmp_path / "sets")
    server.wait_ready("lazysqlite")
    server.wait_ready("lazytask")
    assert server.predict("lazysqlite")[0] > 0
    assert server.predict("lazytask")[0] > 0
