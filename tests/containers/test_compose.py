"""compose.yaml as written: both services become healthy, and not before their models are ready.

Compose itself may be missing, so the file's services are started with the Docker SDK, every key of them.
"""

import re
import time

import pytest
import yaml
from docker_servers import ROOT, Container, rest_ready

SERVICES = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]
NANOSECONDS = 10**9


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text).group(1))


def options_of(service):
    """Translate a service to what the SDK's ``run`` takes; a key that is not known here fails the test."""
    left = dict(service)
    health = left.pop("healthcheck")
    policy, retries = left.pop("restart").split(":")
    published = [port.split(":") for port in left.pop("ports")]
    assert all(host == "127.0.0.1" for host, _, _ in published)
    timings = {key: seconds(health[key]) * NANOSECONDS for key in ("start_period", "interval", "timeout")}
    options = {
        "image": left.pop("image"),
        "command": left.pop("command", None),
        "http": int(published[0][2]),
        "grpc": int(published[1][2]),
        "read_only": left.pop("read_only"),
        "tmpfs": dict.fromkeys(left.pop("tmpfs"), ""),
        "cap_drop": left.pop("cap_drop"),
        "security_opt": left.pop("security_opt"),
        "restart_policy": {"Name": policy, "MaximumRetryCount": int(retries)},
        "healthcheck": {"test": health["test"], "retries": health["retries"], **timings},
    }
    assert seconds(left.pop("stop_grace_period")) == 20
    assert left == {}
    return options


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_is_healthy_once_its_model_is_ready(start, name):
    server: Container = start(**options_of(SERVICES[name]))
    address = server.address(server.http_port)
    deadline = time.monotonic() + 120
    while (health := server.state["Health"]["Status"]) != "healthy":
        assert health == "starting", server.state["Health"]["Log"]
        assert time.monotonic() < deadline, server.log[-3000:]
        time.sleep(0.05)
    assert rest_ready(address)
    assert server.infer()["digit"]
    assert server.stop() == 0
    assert not server.running
