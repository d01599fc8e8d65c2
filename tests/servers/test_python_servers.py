"""The gate before MLServer, LitServe and BentoML: whoever asks first asks a warm server, after a restart too."""

import json
import subprocess
import sys
from operator import attrgetter

import pytest
from gate_checks import COLD, check_every_worker, check_first_request, check_restart
from python_servers import bentoml, bentoml_bytes, litserve, mlserver
from real_server import PROGRAMS

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
    without = check_first_request(server, protocol, start, gate)
    figures(f"{server.name} {protocol}: cold first ÷ steady {without.ratio:.0f}")


@each
def test_a_server_that_restarts_behind_the_gate_is_warmed_anew(server, protocol, start, gate):
    check_restart(server, protocol, start, gate)


@pytest.mark.parametrize("server", [mlserver(2), litserve(2), bentoml(2), bentoml_bytes(3)], ids=attrgetter("name"))
def test_every_worker_is_warm_once_the_gate_is_ready(server, start, gate):
    check_every_worker(server, start, gate)


@pytest.fixture
def command(installed, tmp_path):
    """Return LitServe's command, and run commands of ours before it."""
    server = installed(litserve(1))
    samples = server.samples("JSON", tmp_path / "samples")
    its = [server.installed.parent / "bin" / "python", PROGRAMS / "litserve_app.py", "{http_port}", "1"]

    def run(name, *options):
        ours = [sys.executable, "-m", "kserve_warmup", name, "--samples", samples, *server.options, *options]
        return subprocess.run(
            [*map(str, ours), "--", *map(str, its)], check=False, capture_output=True, text=True, timeout=300
        )

    return run


def test_verify_finds_a_cold_server_of_an_api_of_its_own(command):
    done = command("verify", "--starts", "1", "--requests", "6", "--pace", "0.05", "--max-ratio", COLD, "--json")

    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["verdict"] == "fail"


def test_what_such_a_server_compiles_is_baked_and_its_next_start_hits_it(command, tmp_path):
    done = command("bake", "--out", tmp_path / "warm")

    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "warm").rglob("*.nbi")), done.stdout
