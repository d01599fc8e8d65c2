"""What is claimed of the gate before any server, as steps of tests; ``start`` and ``gate`` are conftest's fixtures.

All servers have the model of ``programs/neighbours.py``, whose answers say whether it had to compile for them.
"""

from concurrent.futures import ThreadPoolExecutor

from python_servers import answer
from real_server import START_SECONDS

from kserve_warmup.latency import measure

COLD = 10
"""How many times as long as a later one a cold server's first request takes, at the very least: it is hundreds."""


def warm(served, protocol, gate):
    """Return a gate that has warmed a server."""
    made = gate(served, protocol)
    made.wait(lambda state: state["ready"], START_SECONDS)
    return made


def check_first_request(server, protocol, start, gate):
    """Whoever asks first asks a warm server, and without the gate a cold one; return the latencies of that."""
    requests = [server.requests[protocol](number) for number in range(100, 110)]
    cold = start(server)
    cold.wait_ready()
    without = measure(requests, cold.target(requests[0]), len(requests))
    assert without.ratio > COLD

    served = start(server, instead_of=cold)
    warm(served, protocol, gate)
    assert answer(served.ask(requests[0]))["cold"] is False
    return without


def check_restart(server, protocol, start, gate):
    """Another start of the server behind a gate is noticed, and warmed anew."""
    request = server.requests[protocol](100)
    served = start(server)
    before = warm(served, protocol, gate)
    process = answer(served.ask(request))["process"]

    served.stop()
    before.wait(lambda state: not state["ready"])
    again = start(server, instead_of=served)
    assert before.wait(lambda state: state["ready"], START_SECONDS)["warmups"] == 2
    found = answer(again.ask(request))
    assert found["process"] != process
    assert found["cold"] is False


def check_every_worker(server, start, gate):
    """No worker is cold, whichever of them answers."""
    (protocol, *_) = server.requests
    served = start(server)
    warm(served, protocol, gate)
    with ThreadPoolExecutor(8) as clients:
        answers = list(clients.map(lambda number: answer(served.ask(server.requests[protocol](number))), range(80)))

    assert {found["process"] for found in answers if found["cold"]} == set()
    assert len({found["process"] for found in answers}) == server.workers
