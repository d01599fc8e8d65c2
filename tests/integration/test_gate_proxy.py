"""The gate holds the one port: nobody gets to a cold server, and nobody is lost when it restarts."""

import asyncio
import contextlib
import gzip
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path

import grpc
import pytest
from gate_process import GateProcess
from held_ports import free_ports
from kserve_server import KServeServer, v1_body
from sample_sets import samples, save
from websockets.sync.client import connect

from kserve_warmup.errors import WarmupError
from kserve_warmup.gate.gate_plan import ModelSamples, Plan
from kserve_warmup.gate.haproxy import HAProxy, find
from kserve_warmup.gate.options import checked
from kserve_warmup.gate.proxy_config import config
from kserve_warmup.transports.endpoints import GRPC_MODEL_READY, GRPC_READY, grpc_name, infer_message
from kserve_warmup.transports.http import Address, fetch

PREDICT = "/v1/models/model:predict"
INFER = "/inference.GRPCInferenceService/ModelInfer"
HEALTH = "/grpc.health.v1.Health/Check"
MESSAGE = infer_message(samples("grpc")[0].body, "model")


class ProxyGate(GateProcess):
    """A gate with a port for users, before one server's ports."""

    def __init__(self, ports, samples, *options):
        (self.users,) = free_ports(1)
        url, grpc_address = f"http://127.0.0.1:{ports[0]}", f"127.0.0.1:{ports[1]}"
        super().__init__(url, samples, "--grpc", grpc_address, "--proxy", self.users, *options)

    def ask(self, method, path, body=None, headers=None):
        """Send one request as a user, on a connection of its own; return status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.users, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()

    def predict(self, body=None):
        return self.ask("POST", PREDICT, body or v1_body(), {"content-type": "application/json"})

    def call(self, method, message, seconds=60):
        """Call one gRPC method as a user."""
        with grpc.insecure_channel(f"127.0.0.1:{self.users}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
            return channel.unary_unary(method)(message, timeout=seconds)

    @property
    def listens(self):
        try:
            socket.create_connection(("127.0.0.1", self.users), 5).close()
        except ConnectionRefusedError:
            return False
        return True

    @property
    def haproxy(self):
        """Return the process id of its HAProxy."""
        (child,) = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(child)

    def wait_warm(self, warmups):
        return self.wait(lambda state: state["ready"] and state["warmups"] == warmups)


@pytest.fixture
def ports():
    return free_ports(2)


@pytest.fixture
def passing(ports, tmp_path):
    """Start servers that show what reaches them, one after the other on the same port."""
    started = []

    def begin():
        server = KServeServer("", script="passing_server.py", ports=ports, CALLS=tmp_path / "calls")
        started.append(server)
        return server

    yield begin
    for server in started:
        server.stop()


@pytest.fixture
def open_gate(ports, v1_set, monkeypatch, passing):
    """Return a gate that lets users through to such a server, without a warm-up."""
    monkeypatch.setenv("KSERVE_WARMUP_ENABLED", "false")
    with ProxyGate(ports, v1_set) as gate:
        gate.server = passing()
        gate.wait_phase("ready")
        yield gate


@pytest.fixture
def both(tmp_path):
    return save(tmp_path / "samples", samples("v1", "grpc"))


def test_nothing_listens_until_the_server_is_warm_and_then_one_port_takes_both_protocols(start, ports, both):
    with ProxyGate(ports, both) as gate:
        gate.wait_phase("waiting")
        assert not gate.listens
        server = start("Plain", ports=ports)
        gate.wait_phase("warming")
        assert not gate.listens
        state = gate.wait_phase("ready")

        assert gate.listens
        assert json.loads(gate.predict()[2])["predictions"][0][0] > state["calls"] >= 8
        assert gate.call(INFER, MESSAGE)
        assert gate.call(GRPC_MODEL_READY, grpc_name("model")) == GRPC_READY
        assert gate.ask("GET", "/v2/models/model/ready")[0] == 200
        status, _, body = gate.ask("GET", "/ready")
        assert (status, json.loads(body)["warmups"]) == (200, 1)
        server.stop()


def test_while_the_server_restarts_readiness_says_no_on_both_protocols_and_all_else_waits(start, ports, both):
    with ProxyGate(ports, both) as gate, ThreadPoolExecutor() as pool:
        first = start("Plain", ports=ports)
        gate.wait_phase("ready")
        first.process.kill()
        first.process.wait()
        gate.wait_phase("waiting")

        waiting = [pool.submit(gate.predict), pool.submit(gate.call, INFER, MESSAGE)]
        for path in ("/ready", "/v1/models/model", "/v2/models/model/ready", "/v2/health/ready"):
            assert gate.ask("GET", path)[0] == 503, path
        assert gate.ask("GET", "/v2/models/model/ready")[1]["retry-after"] == "1"
        for method in (GRPC_MODEL_READY, HEALTH, "/inference.GRPCInferenceService/ServerReady"):
            with pytest.raises(grpc.RpcError) as error:
                gate.call(method, grpc_name("model"))
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not any(each.done() for each in waiting)

        second = start("Plain", ports=ports)
        state = gate.wait_warm(2)
        assert json.loads(waiting[0].result(60)[2])["predictions"][0][0] > state["calls"]
        assert waiting[1].result(60)
        assert second.process.poll() is None


@pytest.mark.alone
def test_a_server_that_is_killed_under_load_loses_no_request_of_either_protocol(start, ports, both):
    answered, lost, stopped = {"http": 0, "grpc": 0}, [], threading.Event()

    def user(kind, send):
        while not stopped.wait(0.005):
            try:
                send()
                answered[kind] += 1
            except http.client.IncompleteRead:
                pass  # killed between the head and the body of its answer, which no proxy can take back
            except Exception as error:  # noqa: BLE001  (whatever it is, the request is lost)
                lost.append((kind, error))

    with ProxyGate(ports, both) as gate:
        server = start("Plain", ports=ports)
        gate.wait_phase("ready")
        users = [threading.Thread(target=user, args=("http", _http_user(gate))) for _ in range(3)]
        users += [threading.Thread(target=user, args=("grpc", _grpc_user(gate))) for _ in range(3)]
        for each in users:
            each.start()
        for number in (2, 3):
            time.sleep(1)
            server.process.kill()
            server.process.wait()
            server = start("Plain", ports=ports)
            gate.wait_warm(number)
        before = dict(answered)
        time.sleep(1)
        stopped.set()
        for each in users:
            each.join()

    assert lost == []
    assert all(answered[kind] > before[kind] > 0 for kind in answered)


def _http_user(gate):
    connection = http.client.HTTPConnection("127.0.0.1", gate.users, timeout=60)

    def send():
        connection.request("POST", PREDICT, v1_body(), {"content-type": "application/json"})
        answer = connection.getresponse()
        assert (answer.read(), answer.status)[1] == 200

    return send


def _grpc_user(gate):
    channel = grpc.insecure_channel(f"127.0.0.1:{gate.users}", [("grpc.use_local_subchannel_pool", 1)])
    return lambda: channel.unary_unary(INFER)(MESSAGE, timeout=60)


def slowly(first, rest):
    """Yield a body in two parts, the second one later."""
    yield first
    time.sleep(0.5)
    yield rest


def test_a_request_that_the_server_falls_over_is_sent_twice_and_then_given_up(open_gate, passing, tmp_path):
    calls = tmp_path / "calls"
    with ThreadPoolExecutor() as pool:
        poisoned = pool.submit(open_gate.predict, b"poison")
        open_gate.server.process.wait(30)
        harmless = pool.submit(open_gate.predict, b"harmless")
        passing().process.wait(30)  # the poison was sent once more
        with contextlib.suppress(http.client.RemoteDisconnected):
            assert poisoned.result(30)[0] == 503
        passing()
        assert harmless.result(30)[0] == 200

    assert calls.read_bytes().count(b"poison") == 2
    assert "under way twice" in open_gate.stop()


def test_what_may_have_changed_something_is_not_sent_anew(open_gate, passing):
    status, _, _ = open_gate.ask("POST", "/echo?die=yes", b"x")
    open_gate.server.process.wait(30)

    assert status == 502
    passing()
    assert open_gate.predict(b"x")[0] == 200


def test_requests_and_answers_are_passed_on_untouched(open_gate):
    body = os.urandom(5 << 20)
    given = {"host": "digits.example.com", "x-request-id": "7", "x-forwarded-for": "203.0.113.9", "authorization": "a"}
    status, _, content = open_gate.ask("POST", "/echo", body, given | {"x-kserve-warmup": "1"})

    found = json.loads(content)
    headers = found["headers"]
    assert (status, found["bytes"], found["sha256"]) == (200, len(body), hashlib.sha256(body).hexdigest())
    assert all([name, value] in headers for name, value in given.items())
    assert not any(name == "x-kserve-warmup" for name, _ in headers)  # nobody from outside is the warm-up
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert json.loads(open_gate.ask(method, "/echo")[2])["method"] == method
    status, headers, content = open_gate.ask("GET", "/zipped")
    assert gzip.decompress(content) == b"small" * 100
    assert (headers["content-encoding"], headers["x-of-the-server"]) == ("gzip", "kept")
    assert open_gate.ask("HEAD", "/zipped")[1]["content-length"] == headers["content-length"]
    assert len(open_gate.ask("GET", "/big")[2]) == 5 << 20
    assert open_gate.ask("GET", "/nowhere")[0] == 404


def test_a_body_may_take_its_time_to_come(open_gate):
    for headers in ({}, {"content-length": "5"}):  # in chunks, and of a length that is told
        status, _, content = open_gate.ask("POST", PREDICT, slowly(b"ab", b"cde"), headers)
        assert (status, json.loads(content)) == (200, {"predictions": [5]})


def test_a_streamed_answer_comes_as_it_is_made_and_websockets_get_through(open_gate):
    connection = http.client.HTTPConnection("127.0.0.1", open_gate.users, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", "/events")
        answer = connection.getresponse()
        assert answer.readline() == b"data: 1\n"
        open_gate.ask("GET", "/go")
        assert b"data: 2" in answer.read()
    with connect(f"ws://127.0.0.1:{open_gate.users}/socket") as websocket:
        websocket.send("abc")
        assert websocket.recv(30) == "cba"


def test_sigterm_lets_what_is_under_way_be_answered_and_takes_nothing_new(open_gate):
    connection = http.client.HTTPConnection("127.0.0.1", open_gate.users, timeout=60)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    haproxy = open_gate.haproxy
    open_gate.process.send_signal(signal.SIGTERM)
    while open_gate.listens:
        time.sleep(0.02)
    assert open_gate.state["detail"] == "stopping"
    assert open_gate.process.poll() is None

    go = http.client.HTTPConnection("127.0.0.1", open_gate.server.http, timeout=60)
    go.request("GET", "/go")
    assert b"data: 2" in answer.read()
    assert open_gate.process.wait(30) == 0
    assert not Path(f"/proc/{haproxy}").exists()


def test_sigterm_while_the_server_is_away_keeps_nobody_waiting_for_it(open_gate):
    open_gate.server.process.kill()
    open_gate.wait_phase("waiting")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(open_gate.predict, b"x")
        with pytest.raises(FutureTimeoutError):
            waiting.result(0.5)
        open_gate.process.send_signal(signal.SIGTERM)
        assert open_gate.process.wait(30) == 0
        with pytest.raises(http.client.RemoteDisconnected):
            waiting.result(30)


def test_a_second_signal_ends_it_whatever_is_under_way(open_gate):
    connection = http.client.HTTPConnection("127.0.0.1", open_gate.users, timeout=60)
    connection.request("GET", "/events")
    connection.getresponse()
    open_gate.process.send_signal(signal.SIGTERM)
    while open_gate.listens:
        time.sleep(0.02)
    open_gate.process.send_signal(signal.SIGTERM)

    assert open_gate.process.wait(30) == 0


def test_a_gate_that_is_killed_leaves_no_haproxy_behind(open_gate):
    haproxy = open_gate.haproxy
    open_gate.process.kill()
    open_gate.process.wait()

    deadline = time.monotonic() + 30
    while _runs(haproxy):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not open_gate.listens


def _runs(pid):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_an_haproxy_that_is_killed_is_started_anew_and_who_connects_meanwhile_waits(open_gate):
    first = open_gate.haproxy
    os.kill(first, signal.SIGKILL)

    assert [open_gate.predict(b"x")[0] for _ in range(3)] == [200] * 3
    assert open_gate.haproxy != first
    assert open_gate.wait_phase("ready")
    assert "HAProxy is started anew" in open_gate.stop()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["https://localhost:8000", "--proxy", "8080"], "--proxy speaks to the server without TLS"),
        (["http://localhost:8000", "--proxy", "8085"], "--proxy and --port are both 8085"),
        (["http://localhost:8000", "--port", "0", "--proxy", "{taken}"], "Address already in use; choose another"),
    ],
)
def test_what_cannot_be_proxied_is_one_line_and_exit_code_2(v1_set, arguments, problem):
    with socket.create_server(("", 0)) as taken:
        given = [argument.format(taken=taken.getsockname()[1]) for argument in arguments]
        command = [sys.executable, "-m", "kserve_warmup", "gate", *given, "--samples", str(v1_set)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)

    assert done.returncode == 2
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1


async def test_a_model_s_name_stands_in_the_configuration_as_it_is():
    name = "it's:$HOME #1"
    nobody, quoted = "127.0.0.1:1", "/v1/models/it's:$HOME%20%231"
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        sets = [ModelSamples(name, samples("v1"))]
        haproxy = await HAProxy.start(find(), bound, lambda *fds: config(sets, nobody, nobody, *fds, http=True))
        try:
            address = Address(*bound.getsockname())
            answer = await asyncio.wait_for(fetch(address, "GET", quoted), 30)
        finally:
            await haproxy.kill()

    assert answer.status == 503
    assert dict(answer.headers)["retry-after"] == "1"


def test_a_missing_haproxy_and_one_that_is_too_old_are_told_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("kserve_warmup.gate.haproxy.PATHS", str(tmp_path))
    with pytest.raises(WarmupError, match="not installed: apt-get install haproxy"):
        find()
    old = tmp_path / "haproxy"
    old.write_text("#!/bin/sh\necho 'HA-Proxy version 1.8.19 2019/02/11'\n")
    old.chmod(0o755)
    with pytest.raises(WarmupError, match=r"HAProxy 2\.4 or later"):
        find()


def test_a_plan_carries_the_port(v1_set, tmp_path):
    plan = checked("http://localhost:8000", v1_set, proxy=8080)
    with (tmp_path / "plan").open("wb") as file:
        plan.write(file)
    with (tmp_path / "plan").open("rb") as file:
        assert Plan.read(file).proxy == 8080
