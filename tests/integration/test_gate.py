"""The gate before real KServe servers: closed until they are warm, and again whenever they are not."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gate_process import GateProcess
from guarded import HOST, TOKEN, guarded
from held_ports import free_ports
from kserve_server import IMPORT, ended_at_once
from sample_sets import samples, save

from kserve_warmup import WarmupReport

LOADED = "import sys, kserve_warmup.gate.main, kserve_warmup.transports.grpc"


@pytest.fixture
def every_protocol(tmp_path):
    return save(tmp_path / "samples", samples("v1", "v2", "v2-binary", "grpc"))


@pytest.fixture
def ports():
    return free_ports(2)


@pytest.fixture
def url(ports):
    return f"http://127.0.0.1:{ports[0]}"


@pytest.fixture
def gate(url, ports, every_protocol):
    with GateProcess(url, every_protocol, "--grpc", f"127.0.0.1:{ports[1]}") as process:
        yield process


def test_it_is_closed_until_every_protocol_is_warm_and_says_how_far_it_is(gate, start, ports):
    state = gate.wait_phase("waiting")
    assert gate.wait(lambda s: "ask" not in s["detail"])["detail"] == "the server does not answer"
    assert state["calls"] == 0

    server = start("Plain", ports=ports)
    state = gate.wait_phase("ready")

    assert state["detail"].endswith(" of 8 strata steady")  # on a busy machine not every one settles
    assert state["warmups"] == 1
    report = WarmupReport.from_json(gate.get("/report")[1])
    assert {s.protocol for s in report.strata} == {"v1", "v2", "v2-binary", "grpc"}
    assert report.coverage + report.unsteady == pytest.approx(1)
    assert server.predict()[0] > state["calls"] > report.calls  # the first user comes after all of them, and bursts
    assert "bursts of 2 to 8 requests at once" in report.note
    metrics = gate.get("/metrics")[1]
    assert "kserve_warmup_gate_ready 1.0" in metrics
    assert 'kserve_warmup_converged{batch="2",model_name="model",protocol="grpc"' in metrics
    assert gate.get("/elsewhere")[0] == 404


def test_a_killed_server_closes_the_gate_and_its_next_start_is_warmed_again(gate, start, ports):
    first = start("Plain", ports=ports)
    gate.wait_phase("ready")

    first.process.kill()
    first.process.wait()
    gate.wait_phase("waiting")
    second = start("Plain", ports=ports)
    state = gate.wait_phase("ready")

    assert state["warmups"] == 2
    assert second.predict()[0] > state["calls"] >= 2 * 8  # two calls a stratum at the least
    assert "Connection refused" in gate.stop()


def test_a_server_killed_in_the_middle_of_its_warmup_is_waited_for(start, ports, url, v1_set):
    with GateProcess(url, v1_set) as gate:
        first = start("SlowAsyncPredict", ports=ports, enabled="false")
        gate.wait(lambda s: s["phase"] == "warming" and s["calls"] > 2)
        first.process.kill()
        first.process.wait()
        gate.wait_phase("waiting")
        start("Plain", ports=ports)
        assert gate.wait_phase("ready")["warmups"] == 2


def test_a_hung_server_closes_the_gate_and_needs_no_second_warmup_when_it_comes_to(gate, start, ports):
    server = start("Plain", ports=ports)
    gate.wait_phase("ready")

    server.process.send_signal(signal.SIGSTOP)
    assert "no answer" in gate.wait_phase("waiting")["detail"]
    server.process.send_signal(signal.SIGCONT)

    assert gate.wait_phase("ready")["warmups"] == 1


def test_a_server_that_answers_500_never_gets_through_and_the_gate_lives_on(gate, start, ports):
    start("Fails", ports=ports, enabled="false")

    state = gate.wait_phase("failed")

    assert state["detail"] == "8 of 8 strata cannot be warmed"
    strata = WarmupReport.from_json(gate.get("/report")[1]).strata
    assert {s.error for s in strata if s.protocol != "grpc"} == {"HTTP 500: the gate's log says why"}
    assert gate.wait(lambda s: s["warmups"] == 2)["ready"] is False
    assert gate.process.poll() is None
    assert "HTTP 500: {" in gate.stop()


def test_a_server_that_answers_500_gets_through_when_asked_to(start, ports, url, v1_set):
    start("Fails", ports=ports, enabled="false")

    with GateProcess(url, v1_set, "--on-failure", "serve") as gate:
        assert gate.wait_phase("ready")["detail"] == "0 of 2 strata steady"
    assert "served COLD" in gate.log


def test_a_slow_server_gets_through_at_the_end_of_the_budget_and_is_not_called_steady(start, ports, url, v1_set):
    start("SlowAsyncPredict", ports=ports, enabled="false")

    with GateProcess(url, v1_set, "--max-seconds", 2) as gate:
        state = gate.wait_phase("ready")

    assert state["detail"] == "0 of 2 strata steady"
    assert "NOT steady" in gate.log


def test_a_server_with_another_model_is_named_and_not_let_through(gate, start, ports):
    first = start("Plain", ports=ports)
    gate.wait_phase("ready")

    first.stop()
    start("Plain,Declared", ports=ports, enabled="false")
    state = gate.wait(lambda s: "no model" in s["detail"])

    assert state["detail"] == "the server has no model 'model'"
    assert not state["ready"]
    assert "has no model 'model': 127.0.0.1:" in gate.stop()
    assert " has plain, declared" in gate.log


def test_a_model_may_be_named_that_the_set_does_not_name(start, ports, url, v1_set):
    start("Plain,Declared", ports=ports, enabled="false")

    with GateProcess(url, v1_set, "--model", "declared") as gate:
        assert gate.wait_phase("ready")["models"][0]["model"] == "declared"


def test_a_folder_of_sets_holds_the_gate_until_all_models_are_warm(start, ports, url, tmp_path):
    for name in ("plain", "declared"):
        save(tmp_path / "sets" / name, samples("v1"))
    start("Plain,Declared", ports=ports, enabled="false")

    with GateProcess(url, tmp_path / "sets") as gate:
        assert [m["model"] for m in gate.wait_phase("ready")["models"]] == ["declared", "plain"]


def test_settings_of_the_environment_hold_too(start, ports, url, v1_set, monkeypatch):
    report = v1_set.with_name("report.json")
    monkeypatch.setenv("KSERVE_WARMUP_MAX_CALLS", "5")
    monkeypatch.setenv("KSERVE_WARMUP_REPORT", str(report))
    start("Plain", ports=ports)

    with GateProcess(url, v1_set) as gate:
        gate.wait_phase("ready")

    assert [s.calls for s in WarmupReport.from_json(report.read_text()).strata] == [5, 5]


def test_a_warmup_that_is_turned_off_opens_the_gate_with_the_server(start, ports, url, v1_set, monkeypatch):
    monkeypatch.setenv("KSERVE_WARMUP_ENABLED", "false")
    server = start("Plain", ports=ports)

    with GateProcess(url, v1_set) as gate:
        assert "turned off" in gate.wait_phase("ready")["detail"]

    assert server.predict()[0] == 0


def answered(gate):
    """Wait until the gate has asked the server once, and return what it says."""
    return gate.wait(lambda s: s["phase"] and "ask" not in s["detail"])


def test_a_server_of_grpc_alone_is_warmed_and_watched(start, ports, tmp_path):
    folder = save(tmp_path / "grpc", samples("grpc"))

    with GateProcess(f"grpc://127.0.0.1:{ports[1]}", folder) as gate:
        assert answered(gate)["detail"] == "the server does not answer"
        server = start("Plain", ports=ports)
        gate.wait_phase("ready")
        server.process.kill()
        server.process.wait()
        gate.wait_phase("waiting")
        start("Plain", ports=ports)
        assert gate.wait_phase("ready")["warmups"] == 2


def test_a_grpc_server_that_hangs_is_told_from_one_whose_model_is_not_ready(start, ports, tmp_path):
    folder = save(tmp_path / "grpc", samples("grpc"))
    with socket.create_server(("127.0.0.1", ports[1])), GateProcess(f"grpc://127.0.0.1:{ports[1]}", folder) as gate:
        assert answered(gate)["detail"] == "the server gives no answer"
    start("Plain", ports=ports).wait_ready()
    elsewhere = save(tmp_path / "elsewhere", samples("grpc"), model="elsewhere")
    with GateProcess(f"grpc://127.0.0.1:{ports[1]}", elsewhere) as gate:
        assert answered(gate)["detail"] == "the server has no model 'elsewhere'"


@pytest.mark.alone
@pytest.mark.parametrize("phase", ["waiting", "warming", "ready"])
def test_sigterm_ends_it_at_once_whatever_it_is_at(start, ports, url, v1_set, phase):
    with GateProcess(url, v1_set) as gate:
        if phase != "waiting":
            start("SlowAsyncPredict" if phase == "warming" else "Plain", ports=ports, enabled="false")
        gate.wait_phase(phase)
        assert ended_at_once(gate.process, within=IMPORT) == 0


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.6, 0.8, 1.0, 1.3])
def test_sigterm_is_not_lost_while_it_begins(url, v1_set, seconds):
    with GateProcess(url, v1_set) as gate:
        time.sleep(seconds)
        gate.process.terminate()
        assert gate.process.wait(20) in (0, -signal.SIGTERM)


@pytest.mark.alone
def test_a_container_s_first_process_ends_on_sigterm_too_and_at_once(url, v1_set):
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    with GateProcess(url, v1_set, prefix=unshare) as gate:
        gate.wait_phase("waiting")
        pid = int(subprocess.check_output(["pgrep", "-P", str(gate.process.pid)]))
        assert ended_at_once(gate.process, pid, within=IMPORT) == 0


def test_it_needs_little_memory_with_every_protocol(start, ports, url, every_protocol, tmp_path):
    start("Plain", ports=ports)
    compiled = ["env", "-u", "PYTHONDONTWRITEBYTECODE", f"PYTHONPYCACHEPREFIX={tmp_path}"]  # as pip leaves packages
    subprocess.run([*compiled, sys.executable, "-c", LOADED], check=True)

    with GateProcess(url, every_protocol, "--grpc", f"127.0.0.1:{ports[1]}", prefix=compiled) as gate:
        gate.wait_phase("ready")
        gate.get("/metrics")
        lines = Path(f"/proc/{gate.process.pid}/status").read_text().splitlines()

    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    assert kilobytes["RssAnon"] < 25 * 1024
    # Half of the peak are pages of libraries: Linux maps as many around each as its page cache happens to hold.
    assert kilobytes["VmHWM"] < 50 * 1024


def test_it_has_loaded_nothing_of_what_checks_options_and_sets():
    modules = subprocess.check_output([sys.executable, "-c", f"{LOADED}; print(*sys.modules)"], text=True).split()

    assert {"kserve", "numpy", "pandas", "tritonclient", "pydantic", "pydantic_settings", "typer"}.isdisjoint(modules)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["localhost:8000"], "'localhost:8000' is not an HTTP address: give one such as http://localhost:8000"),
        (["http://localhost:8000", "--on-failure", "panic"], "on_failure: it should be 'fail' or 'serve', not 'panic'"),
        (["http://localhost:8000", "--max-seconds", "0"], "max_seconds: a number of seconds above 0, such as 60"),
        (["grpc://localhost:8001"], "model has REST samples: give the server's http:// address"),
        (["http://localhost:8000", "--model", "m", "--samples", "/nowhere"], "/nowhere/m holds no sample set"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(v1_set, arguments, problem):
    options = arguments if "--samples" in arguments else [*arguments, "--samples", str(v1_set)]
    command = [sys.executable, "-m", "kserve_warmup", "gate", *options]

    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)

    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(url, v1_set, gate):
    gate.wait_phase("waiting")
    command = [sys.executable, "-m", "kserve_warmup", "gate", url, "--samples", str(v1_set), "--port", str(gate.port)]

    done = subprocess.run([*command, "--host", "127.0.0.1"], check=False, capture_output=True, text=True, timeout=30)

    assert done.returncode == 2
    assert "Address already in use; choose another --port" in done.stderr


def test_headers_open_a_server_that_refuses_everybody_else_and_are_said_nowhere(start, v1_set, tmp_path, monkeypatch):
    server = start("Plain", enabled="false")
    server.wait_ready()
    token = tmp_path / "token"
    token.write_text("not yet")
    monkeypatch.setenv("KSERVE_WARMUP_HEADERS", '{"host": "overridden.example.com"}')
    monkeypatch.setenv("KSERVE_WARMUP_REPORT", str(tmp_path / "report.json"))
    options = ("--header", f"Host: {HOST}", "--header", f"Authorization: @{token}")

    with guarded(server.http) as url, GateProcess(url, v1_set, *options) as gate:
        gate.wait_phase("waiting")
        token.write_text(TOKEN)  # as Kubernetes renews a mounted secret
        gate.wait_phase("ready")
        said = [gate.get(path)[1] for path in ("/ready", "/report", "/metrics")]

    assert server.predict()[0] > 4
    assert "HTTP 401" in gate.log
    written = [*said, gate.log, (tmp_path / "report.json").read_text()]
    assert not any(secret in text for text in written for secret in (TOKEN, HOST))
