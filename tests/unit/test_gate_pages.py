"""The gate's own port: open to anybody, so it quotes nobody; and always with room for one more probe."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from strategies import v1_sample

from kserve_warmup import metrics
from kserve_warmup.gate import pages
from kserve_warmup.gate.gate_plan import GateSettings
from kserve_warmup.gate.gate_state import State
from kserve_warmup.gate.guard import Gate
from kserve_warmup.gate.guarded import HttpServer
from kserve_warmup.replay import OUT_OF_BUDGET
from kserve_warmup.report import Level, StratumReport, WarmupReport
from kserve_warmup.samples import SampleSet
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch

SECRET = "the patient is ill"
COUNT = 100


class Telltale(BaseHTTPRequestHandler):
    """Is ready, or not; whatever it refuses it quotes."""

    ready = True

    def do_GET(self) -> None:
        self._answer(200 if self.ready and self.path == "/v1/models/digits" else 503)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(500)

    def _answer(self, status: int) -> None:
        body = json.dumps({"error": f"cannot digest {SECRET!r}"}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(params=["ready", "unready"])
def telltale(request):
    handler = type("Handler", (Telltale,), {"ready": request.param == "ready"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Address("127.0.0.1", server.server_port, "", tls=False), request.param
        server.shutdown()


def test_the_port_tells_nothing_that_the_server_said_and_the_log_tells_all(telltale, caplog):
    address, mood = telltale
    sets = [SampleSet("digits", (v1_sample(1, 1, 1), v1_sample(2, 1, 1)))]
    gate = Gate(HttpServer(address, sets), sets, GateSettings(), f"http://{address}", None)
    expected = {"ready": "2 of 2 strata cannot be warmed", "unready": "digits is not ready"}[mood]

    async def run() -> None:
        task = asyncio.ensure_future(gate.run())
        while gate.state.detail != expected:  # noqa: ASYNC110 - the gate is looked at as its port does
            await asyncio.sleep(0.01)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    with caplog.at_level("INFO"):
        asyncio.run(asyncio.wait_for(run(), 30))

    served = [pages.page(path, gate.state)[2].decode() for path in ("/ready", "/report", "/metrics", "/other")]
    assert "digits" in served[0] or mood == "unready"
    assert all(SECRET not in text and "sample " not in text for text in served)
    assert SECRET in caplog.text
    if mood == "ready":
        assert [s["error"] for s in json.loads(served[1])["strata"]] == ["HTTP 500: the gate's log says why"] * 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, None),
        (OUT_OF_BUDGET, OUT_OF_BUDGET),
        (f"sample 0123: HTTP 422: {SECRET}", "HTTP 422: the gate's log says why"),
        (f"sample 0123: gRPC INVALID_ARGUMENT: {SECRET}", "gRPC INVALID_ARGUMENT: the gate's log says why"),
        ("sample 0123: no answer within 30 s", "no answer within 30 s: the gate's log says why"),
        (f"sample 0123: the stream tells of an error: {SECRET}", "failed: the gate's log says why"),
        (f"sample 0123: {SECRET}", "failed: the gate's log says why"),
    ],
)
def test_of_an_error_the_port_tells_its_kind(error, told):
    stratum = StratumReport("v1", "x:INT64[1]", 1, 1.0, 1, 0.1, None, None, converged=False, failures=1, error=error)
    report = WarmupReport("digits", "rest", 0.1, (stratum,), levels=(Level(8, 0.1, (stratum,)),))
    metrics.publish(report)
    state = State("failed", reports=(report,))
    shown = json.loads(pages.page("/report", state)[2])
    assert [one["strata"][0]["error"] for one in (shown, *shown["levels"])] == [told, told]
    assert SECRET not in pages.page("/metrics", state)[2].decode()


def test_however_many_clients_hold_the_port_a_probe_is_answered():
    async def run() -> bytes:
        server = await pages.serve("127.0.0.1", 0, lambda: State("ready"))
        port = server.sockets[0].getsockname()[1]
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3 * pages.MOST_CLIENTS)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = await reader.read()
        assert (await held[0][0].read()) == b""  # the oldest was cut off
        for _, other in [*held, (reader, writer)]:
            other.transport.abort()
        server.close()
        return answer

    assert asyncio.run(asyncio.wait_for(run(), 30)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        (None, ["127.0.0.1", "::1"]),
        ("::", ["127.0.0.1", "::1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("::1", ["::1"]),
    ],
)
def test_the_port_is_open_on_addresses_of_both_kinds_unless_one_is_named(host, reached):
    async def run() -> list[str]:
        server = await pages.serve(host, 0, lambda: State("ready"))
        port = server.sockets[0].getsockname()[1]
        found = []
        for address in ("127.0.0.1", "::1"):
            with suppress(ConnectionLostError):
                found += [address] if (await fetch(Address(address, port), "GET", "/ready")).ok else []
        server.close()
        return found

    assert asyncio.run(asyncio.wait_for(run(), 30)) == reached


def test_a_want_of_file_descriptors_is_one_line_of_the_log_and_passes(tmp_path):
    folder = SampleSet("digits", (v1_sample(1, 1, 1),)).save(tmp_path / "set")
    command = [sys.executable, "-m", "kserve_warmup", "gate", "http://127.0.0.1:9", "--samples", folder]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    limited = ["sh", "-c", 'ulimit -n 40; exec "$@"', "gate", *map(str, command), "--port", str(port)]
    with subprocess.Popen([*limited, "--host", "127.0.0.1"], stderr=subprocess.PIPE, text=True) as gate:
        try:
            assert ready(port) == 503
            with ExitStack() as clients:
                for _ in range(COUNT):
                    clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                time.sleep(3)
            assert ready(port) == 503
        finally:
            gate.terminate()
            log = gate.communicate(timeout=20)[1]
    assert len(re.findall("cannot answer all who ask: Too many open files", log)) == 1
    assert "Traceback" not in log
    assert len(log.splitlines()) < 20


def ready(port: int) -> int:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/ready", timeout=20) as answer:
                return answer.status
        except HTTPError as error:
            return error.code
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
