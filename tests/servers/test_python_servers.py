"""The gate before MLServer, LitServe and BentoML: whoever asks first asks a warm server, after a restart too."""

from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter

import pytest
from python_servers import answer, bentoml, bentoml_bytes, litserve, mlserver

from kserve_warmup.latency import measure

COLD = 10
"""How many times as long as a later one a cold server's first request takes, at the very least: it is hundreds."""

each = pytest.mark.parametrize(
    ("server", "protocol"),
    [
        pytest.param(server, protocol, id=f"{server.name} {protocol}")
        for server in (mlserver(0), litserve(1), bentoml(1))
        for protocol in server.requests
    ],
)


@each
def test_whoever_asks_first_asks_a_warm_server_and_a_cold_one_without_the_gate(server, protocol, start, gate, figures):
    requests = [server.requests[protocol](number) for number in range(100, 110)]
    cold = start(server)
    cold.wait_ready()
    without = measure(requests, cold.target(requests[0]), len(requests))

    served = start(server, instead_of=cold)
    gate(served, protocol).wait_phase("ready")
    first = answer(served.ask(requests[0]))

    assert without.ratio > COLD
    assert first["cold"] is False
    figures(f"{server.name} {protocol}: cold first ÷ steady {without.ratio:.0f}")


@each
def test_a_server_that_restarts_behind_the_gate_is_warmed_anew(server, protocol, start, gate):
    request = server.requests[protocol](100)
    served = start(server)
    before = gate(served, protocol)
    before.wait_phase("ready")
    process = answer(served.ask(request))["process"]

    served.stop()
    assert not before.wait(lambda state: not state["ready"])["ready"]
    again = start(server, instead_of=served)
    assert before.wait(lambda state: state["ready"])["warmups"] == 2
    found = answer(again.ask(request))

    assert found["process"] != process
    assert found["cold"] is False


@pytest.mark.parametrize("server", [mlserver(2), litserve(2), bentoml(2), bentoml_bytes(3)], ids=attrgetter("name"))
def test_every_worker_is_warm_once_the_gate_is_ready(server, start, gate):
    (protocol, *_) = server.requests
    served = start(server)
    gate(served, protocol).wait_phase("ready")
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda number: answer(served.ask(server.requests[protocol](number))), range(80)))

    assert {found["process"] for found in answers if found["cold"]} == set()
    assert len({found["process"] for found in answers}) == server.workers
