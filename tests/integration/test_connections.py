"""How gate and verify reach real servers: TLS of every kind, IPv6, and servers whose model comes after their port."""

import json
import os
import subprocess
import sys

import pytest
from authority import Authority, server_context
from gate_process import GateProcess
from held_ports import free_ports
from kserve_server import HERE
from passing_on import PassingOn
from sample_sets import samples, save
from test_rest_transport import chat

from kserve_warmup.processes import ServerProcess
from kserve_warmup.samples.store import SampleSet

NAME = "digits.example.com"
QUICK = ["--starts", "1", "--requests", "4", "--pace", "0.01", "--max-ratio", "8"]


def run(*arguments, **env):
    command = [sys.executable, "-m", "kserve_warmup", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200", **env}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def server(start):
    server = start("Plain", enabled="false")
    server.wait_ready()
    return server


@pytest.fixture
def every_protocol(tmp_path):
    return save(tmp_path / "samples", samples("v1", "v2", "v2-binary", "grpc", rows=(1,)))


@pytest.fixture
def chats(tmp_path):
    SampleSet("model", (chat(stream=False),)).save(tmp_path / "chats")
    return tmp_path / "chats"


def test_http_and_grpc_go_over_tls_with_a_client_s_certificate_that_is_renewed(
    server, every_protocol, authority, tmp_path, monkeypatch
):
    tls = server_context(authority.issue("server", NAME), clients=authority.ca)
    cert, key = Authority(tmp_path, "stranger").issue("client")
    monkeypatch.setenv("KSERVE_WARMUP_SERVER_NAME", NAME)
    monkeypatch.setenv("KSERVE_WARMUP_REPORT", str(tmp_path / "report.json"))
    with PassingOn(server.http, tls=tls) as http, PassingOn(server.grpc, tls=tls) as grpc:
        options = ("--grpc", f"grpcs://127.0.0.1:{grpc.port}", "--cacert", authority.ca, "--cert", cert, "--key", key)
        with GateProcess(f"https://127.0.0.1:{http.port}", every_protocol, *options) as gate:
            gate.wait(lambda state: state["phase"] == "waiting" and "--cert" in gate.log)
            renewed = authority.issue("renewed")
            renewed[1].replace(key)
            renewed[0].replace(cert)  # as Kubernetes renews a mounted secret
            gate.wait_phase("ready")
            said = [gate.get(path)[1] for path in ("/ready", "/report", "/metrics")]

        assert {s["protocol"] for s in json.loads(said[1])["strata"]} == {"v1", "v2", "v2-binary", "grpc"}
        written = [*said, gate.log, (tmp_path / "report.json").read_text()]
        secret = key.read_text().splitlines()[1]
        assert not any(secret in text for text in written)

        alike = ("--server-name", NAME, "--samples", every_protocol, *QUICK)
        done = run("verify", f"https://127.0.0.1:{http.port}", *options, *alike, "--json")
        assert len(json.loads(done.stdout)["rows"]) == 5, done.stderr


def test_a_server_of_grpc_alone_is_reached_over_tls(server, authority, tmp_path):
    folder = save(tmp_path / "grpc", samples("grpc", rows=(1,)))
    tls = server_context(authority.issue("server", NAME))
    with PassingOn(server.grpc, tls=tls) as grpc:
        url, options = f"grpcs://127.0.0.1:{grpc.port}", ("--cacert", authority.ca, "--server-name", NAME)
        with GateProcess(url, folder, *options) as gate:
            gate.wait_phase("ready")
        done = run("verify", url, "--samples", folder, *options, *QUICK, "--json")

    assert len(json.loads(done.stdout)["rows"]) == 2, done.stderr


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
def test_trouble_with_a_certificate_is_named_by_gate_and_verify_alike_with_the_option_that_mends_it(
    server, authority, tmp_path, scheme
):
    folder = save(tmp_path / "set", samples("grpc" if scheme == "grpcs" else "v2", rows=(1,)))
    tls = server_context(authority.issue("server", NAME))
    with PassingOn(server.grpc if scheme == "grpcs" else server.http, tls=tls) as proxy:
        url = f"{scheme}://127.0.0.1:{proxy.port}"
        for option, problem in (
            ((), "name the authority that signed it with --cacert"),
            (("--cacert", authority.ca), "name the one it has with --server-name"),
        ):
            done = run("verify", url, "--samples", folder, *QUICK, *option, "--timeout", 1)
            assert done.returncode == 1
            assert problem in done.stderr
            with GateProcess(url, folder, *option) as gate:
                state = gate.wait(lambda s: "ask" not in s["detail"] and s["detail"])
                assert state["detail"] == "no TLS connection to the server comes about"
            assert problem in gate.log


@pytest.mark.parametrize("command", ["gate", "verify"])
def test_files_of_tls_that_cannot_be_used_are_one_line_before_anything_is_sent(every_protocol, authority, command):
    (cert, _), (_, other) = authority.issue("client"), authority.issue("other")

    done = run(command, "https://localhost:1", "--samples", every_protocol, "--cert", cert, "--key", other)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"key: {other} is the key of another certificate than {cert}" in done.stderr


def test_an_ipv6_address_is_warmed_and_verified_over_http_and_grpc(server, every_protocol):
    with PassingOn(server.http, host="::1") as http, PassingOn(server.grpc, host="::1") as grpc:
        where = (f"http://[::1]:{http.port}", "--grpc", f"[::1]:{grpc.port}")
        with GateProcess(where[0], every_protocol, *where[1:]) as gate:
            gate.wait_phase("ready")
        done = run("verify", *where, "--samples", every_protocol, *QUICK, "--json")

    assert len(json.loads(done.stdout)["rows"]) == 5, done.stderr


@pytest.fixture
def late(tmp_path):
    """Return what starts a server whose model comes when the flag does."""
    started = []
    flag = tmp_path / "flag"

    def start(kind, *host):
        (port,) = free_ports(1)
        command = [sys.executable, str(HERE / "late_server.py"), kind, str(flag), str(port), *host]
        started.append(ServerProcess(command))
        started[-1].__enter__()
        return f"http://127.0.0.1:{port}"

    yield start, flag
    for process in started:
        process.stop()


def test_tensorflow_serving_is_ready_when_its_model_s_state_says_so(late, v1_set):
    start, flag = late
    with GateProcess(start("tensorflow"), v1_set) as gate:
        state = gate.wait(lambda s: "not ready" in s["detail"])
        assert (state["phase"], state["detail"]) == ("waiting", "model is not ready")
        flag.touch()
        gate.wait_phase("ready")

    assert "its state is LOADING for version 3, and not AVAILABLE" in gate.log
    assert "failed" not in gate.log


def test_verify_waits_for_tensorflow_serving_s_state_on_an_ipv6_address_too(tmp_path, v1_set):
    flag = tmp_path / "flag"
    script = f"(sleep 2; touch {flag}) & exec {sys.executable} {HERE / 'late_server.py'} tensorflow {flag} $0 ::1"
    target = ("http://[::1]:{http_port}", "--samples", v1_set, *QUICK)

    done = run("verify", *target, "--json", "--", "sh", "-c", script, "{http_port}")

    assert json.loads(done.stdout)["starts"][0]["ready_seconds"] > 1, done.stderr


@pytest.mark.parametrize("status", ["500", "503", "404"])
def test_a_front_end_that_lists_models_before_its_engine_is_up_is_waited_for(late, chats, status):
    start, flag = late
    with GateProcess(start(status), chats) as gate:
        state = gate.wait(lambda s: s["calls"] >= 2)
        assert not state["ready"]
        assert state["detail"] == "the server lists its models, and has answered no request yet"
        flag.touch()
        report = gate.wait_phase("ready")

    assert report["warmups"] == 1
    assert f"HTTP {status}" in gate.log
    assert "failed" not in gate.log
    assert "mend" not in gate.log


def test_verify_takes_the_first_answer_of_such_a_front_end_for_its_first_request(tmp_path, chats):
    flag = tmp_path / "flag"
    script = f"(sleep 2; touch {flag}) & exec {sys.executable} {HERE / 'late_server.py'} 503 {flag} $0"

    done = run("verify", "--samples", chats, *QUICK, "--json", "--", "sh", "-c", script, "{http_port}")

    assert len(json.loads(done.stdout)["rows"]) == 2, done.stderr


def test_an_engine_that_never_answers_is_let_through_cold_only_when_asked_to(late, chats):
    start, _ = late
    with GateProcess(start("500"), chats, "--on-failure", "serve", "--max-seconds", "2") as gate:
        gate.wait_phase("ready")

    assert "served COLD" in gate.log


def test_verify_names_the_models_that_a_server_has_when_the_one_it_asks_for_is_not_there(server, tmp_path):
    folder = save(tmp_path / "other", samples("v1", rows=(1,)), model="elsewhere")

    done = run("verify", f"http://127.0.0.1:{server.http}", "--samples", folder, *QUICK, "--timeout", 1)

    assert done.returncode == 1
    assert "the server has no model 'elsewhere': the server has model; HTTP 404" in done.stderr
