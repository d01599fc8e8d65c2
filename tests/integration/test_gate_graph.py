"""The gate before the router of an InferenceGraph: no step is cold for whoever asks the graph first."""

import json
import sys
from pathlib import Path

import pytest
from gate_process import GateProcess
from held_ports import free_ports
from kserve_server import v1_body
from sample_sets import samples, save

from kserve_warmup.processes import ServerProcess
from kserve_warmup.transports.http import Address, fetch_now

PROGRAM = Path(__file__).parent / "graph_router.py"
JSON = {"content-type": "application/json"}


@pytest.fixture
def graph(request):
    """Start a router of plain HTTP steps."""

    def _graph(steps, propagate):
        (port,) = free_ports(1)
        command = [sys.executable, str(PROGRAM), str(port), *steps]
        router = ServerProcess(command, env={"PROPAGATE_HEADERS": propagate}, name="the router")
        router.__enter__()
        request.addfinalizer(router.stop)
        return f"http://127.0.0.1:{port}"

    return _graph


@pytest.mark.parametrize("propagate", ["x-kserve-warmup", ""])
def test_the_gate_before_a_router_warms_every_step_and_their_mark_comes_as_far_as_it_is_propagated(
    propagate, start_case, graph, tmp_path
):
    ports = [free_ports(2), free_ports(2)]
    steps = [f"http://127.0.0.1:{http}/v1/models/model:predict" for http, _ in ports]
    url = graph(steps, propagate)
    made = save(tmp_path / "set", samples("v1", rows=(1,)))
    gate = GateProcess(url, made, "--path", "/", "--ready", "/readyz")
    try:
        first = start_case("PassesOn", ports=ports[0], CONTROL=1)
        first.wait_ready()
        assert gate.get("/ready")[0] == 503  # the router is ready, and its second step is not there
        start_case("Counts", ports=ports[1]).wait_ready()
        gate.wait(lambda state: state["ready"], seconds=120)  # it tries again after 5, 10, 20 … seconds
    finally:
        log = gate.stop()
    answer = fetch_now(Address.parse(url), "POST", "/", JSON, v1_body(), seconds=30)
    assert answer.status == 200, log
    marked, unmarked = json.loads(answer.body)["predictions"][0]
    assert (marked if propagate else unmarked) > 1
    assert (unmarked if propagate else marked) == bool(propagate)
