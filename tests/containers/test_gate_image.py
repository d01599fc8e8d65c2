"""The gate's image holds the port of a pod: any user, a read-only root, nothing written."""

import pytest
from docker_servers import GATE, KSERVE, LABEL, MODEL, SAMPLES

USERS = 8085 + 1


@pytest.fixture
def pod(start, client):
    """Start a server and a gate that share a network, as containers of a pod do; the gate has the port for users."""
    server = start(KSERVE, ["predictor:Predictor", f"--model_name={MODEL}"], http=USERS, grpc=8081)
    gate = client.containers.run(
        GATE,
        ["http://localhost:8080", "--samples", "/samples", "--proxy", str(USERS)],
        detach=True,
        labels=LABEL,
        network_mode=f"container:{server.container.id}",
        volumes=[f"{SAMPLES}:/samples:ro"],
        user="1000660000:0",
        read_only=True,
        cap_drop=["ALL"],
    )
    yield server, gate
    gate.remove(force=True)


def test_users_get_through_it_once_the_server_is_warm_and_it_ends_when_it_is_asked_to(pod):
    server, gate = pod
    server.wait_ready()

    assert server.infer()
    said = gate.logs().decode()
    assert said.index("strata steady") < said.index(f"users are let in on port {USERS}")
    gate.stop(timeout=20)
    gate.reload()
    assert gate.attrs["State"]["ExitCode"] == 0, gate.logs().decode()[-2000:]
