"""Transformers and explainers beside real predictors: asked for their health too, gone and back, behind TLS."""

import json
import time

import pytest
from authority import Authority
from held_ports import free_ports
from kserve_server import v1_body
from sample_sets import samples, save

from kserve_warmup.protocols.bodies import request

PROTOCOLS = pytest.mark.parametrize("protocol", ["v1", "v2", "grpc-v2"])
AWAY = "not ready, waiting for what it needs"


def beside(protocol, http, grpc, *more):
    """Return KServe's options for a transformer whose predictor has these ports."""
    host = f"127.0.0.1:{grpc if protocol == 'grpc-v2' else http}"
    return ["--predictor_protocol", protocol, "--predictor_host", host, *more]


def set_for(protocol, folder, rows=(1, 2)):
    return save(folder, samples("v1" if protocol == "v1" else "v2", rows=rows))


def ask(server, protocol):
    """Ask the transformer; return the status, and how many marked and unmarked requests the predictor has seen."""
    (made,) = samples("v1" if protocol == "v1" else "v2", rows=(1,))
    status, body, _ = server.post(made.path_for("model"), made.body)
    if status != 200:
        return status, None
    answered = json.loads(body)
    return status, answered["predictions"][0] if protocol == "v1" else answered["outputs"][0]["data"]


def ready(server):
    return server.get("/v2/models/model/ready")[0]


def wait_until(server, status, seconds=60):
    deadline = time.monotonic() + seconds
    while ready(server) != status:
        assert time.monotonic() < deadline, server.log[-3000:]
        time.sleep(0.1)


@PROTOCOLS
def test_where_the_predictors_health_is_asked_a_transformer_is_ready_only_once_it_is_warm_itself(
    protocol, start_case, tmp_path
):
    http, grpc = free_ports(2)
    options = beside(protocol, http, grpc, "--enable_predictor_health_check")
    gate = tmp_path / "gate"
    gate.touch()
    server = start_case(
        "TransformerBehindGate", samples=set_for(protocol, tmp_path / "set"), options=options, GATE=gate
    )
    control = start_case("TransformerBehindGate", options=options, CONTROL=1, GATE=gate)
    server.wait_for_log(AWAY)
    server.wait_for_log("Uvicorn running")
    gate.unlink()
    predictor = start_case("Counts", ports=(http, grpc))
    predictor.wait_ready()
    control.wait_ready()  # KServe asks the predictor, and nobody else
    assert ready(server) == 503
    assert ask(server, protocol)[0] == 503
    gate.touch()
    server.wait_ready()
    status, (marked, unmarked) = ask(server, protocol)
    assert (status, unmarked) == (200, 1)
    assert marked > 0

    predictor.stop()
    wait_until(server, 503)
    start_case("Counts", ports=(http, grpc)).wait_ready()
    wait_until(server, 200)
    assert ask(server, protocol)[0] == 200


@PROTOCOLS
def test_a_predictor_that_dies_while_its_transformer_warms_is_waited_for(protocol, start, start_case, tmp_path):
    http, grpc = free_ports(2)
    first = start("SlowPredict", ports=(http, grpc))
    first.wait_ready()
    made = set_for(protocol, tmp_path / "set", rows=(1,))  # whose one request is under way then
    server = start_case("Transformer", samples=made, options=beside(protocol, http, grpc))
    first.wait_for_log("predicting")
    first.process.kill()
    server.wait_for_log(AWAY)
    assert server.process.poll() is None
    start_case("Counts", ports=(http, grpc)).wait_ready()
    server.wait_ready()
    status, (marked, _) = ask(server, protocol)
    assert status == 200
    assert marked > 0


def test_a_transformer_is_warmed_through_a_predictor_behind_tls(start_case, tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("predictor", "127.0.0.1")
    http, grpc = free_ports(2)
    predictor = start_case("Counts", ports=(http, grpc), options=["--ssl_certfile", certificate, "--ssl_keyfile", key])
    predictor.wait_for_log("Uvicorn running")
    given = {
        "samples": set_for("v2", tmp_path / "set"),
        "options": beside("v2", http, grpc, "--predictor_use_ssl", "True"),
    }
    server = start_case("Transformer", **given, REQUESTS_CA_BUNDLE=authority.ca)
    start_case("Transformer", **given).wait_for_log("CERTIFICATE_VERIFY_FAILED")  # who trusts nobody says why it waits
    server.wait_ready()
    status, (marked, unmarked) = ask(server, "v2")
    assert (status, unmarked) == (200, 1)
    assert marked > 0


def test_an_explainer_waits_for_the_predictor_that_it_asks_and_both_its_verbs_are_warmed(start_case, tmp_path):
    http, grpc = free_ports(2)
    paths = ("/v1/models/{model}:explain", "/v1/models/{model}:predict")
    made = [request("v1", v1_body(), path=path, weight=0.5) for path in paths]
    server = start_case(
        "ExplainerOfPredictions", samples=save(tmp_path / "set", made), options=beside("v1", http, grpc)
    )
    server.wait_for_log(AWAY)
    server.wait_for_log("Uvicorn running")
    assert server.post("/v1/models/model:explain", v1_body())[0] == 503
    start_case("Counts", ports=(http, grpc)).wait_ready()
    server.wait_ready()
    status, body, _ = server.post("/v1/models/model:explain", v1_body())
    marked, unmarked = json.loads(body)["explanations"][0]
    assert (status, unmarked) == (200, 1)
    assert marked > 0
    assert all(f"warming v1 instances:FP64[N,2] {words}batch 1 over rest" in server.log for words in ("explain ", ""))
    assert ask(server, "v1")[0] == 200
