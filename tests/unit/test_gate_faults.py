"""What a gate must not take for more than it is: one answer that failed, one sample that is bad."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from strategies import v1_sample

from kserve_warmup.gate.gate_plan import GateSettings, ModelSamples
from kserve_warmup.gate.guard import Gate
from kserve_warmup.gate.guarded import GrpcServer, HttpServer, Marks, ServerGoneError
from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import DEFAULT_PATHS, Sample, Signature
from kserve_warmup.tls_options import TlsOptions, with_tls
from kserve_warmup.transports.http import Address
from kserve_warmup.transports.wire import WireTransport

GOOD, BAD = v1_sample(1, 1, 1), v1_sample(1, 1, 2)


FIRST_SECONDS = 0.8
"""Of a process's first request."""


class TritonLike(BaseHTTPRequestHandler):
    """Answers as a Triton whose statistics, metadata and metrics fail now and then, and refuses one sample."""

    protocol_version = "HTTP/1.1"
    asked: Counter[str | bytes]
    count = 5
    fails_next: set[str]
    cold = 0  # processes that have not answered yet

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        if self.path in self.fails_next:
            self.fails_next.discard(self.path)
            self._answer(503, b"busy")
        elif self.path == "/metrics":
            self._answer(200, b"process_start_time_seconds 1.5\n")
        else:
            self._answer(200, json.dumps({"model_stats": [{"inference_count": self.count}]}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.asked[body] += 1
        if self.cold:
            type(self).cold -= 1
            time.sleep(FIRST_SECONDS)
        self._answer(500 if body == BAD.body else 200, b"{}")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server():
    handler = type("Handler", (TritonLike,), {"asked": Counter(), "fails_next": set()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        threading.Thread(target=web.serve_forever, args=(0.01,), daemon=True).start()
        yield Address("127.0.0.1", web.server_port), handler
        web.shutdown()


def guard(address: Address, *steps: Callable[[Gate], bool], samples: tuple[Sample, ...] = (GOOD, BAD)) -> Gate:
    """Run a gate before the server, until each of ``steps`` has become true, one after the other."""
    sets = [ModelSamples("digits", samples)]
    gate = Gate(HttpServer(address, sets), sets, GateSettings(max_calls=20, max_seconds=20), f"http://{address}", None)

    async def run() -> None:
        running = asyncio.ensure_future(gate.run())
        for done in steps:
            while not done(gate):  # noqa: ASYNC110 - the gate is looked at as its port does
                await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(run(), 30))
    return gate


def test_two_processes_that_were_cold_one_after_the_other_are_no_steady_state(server):
    address, handler = server
    handler.cold = 2
    gate = guard(address, lambda gate: gate.state.reports != (), samples=(GOOD,))
    (stratum,) = gate.state.reports[0].strata
    assert stratum.first_ms >= FIRST_SECONDS * 1e3
    assert stratum.steady_ms < FIRST_SECONDS * 1e3 / 2


@pytest.mark.parametrize("path", ["/v2/models/digits/stats", "/v2/models/digits", "/metrics"])
def test_one_answer_that_fails_is_no_other_start_and_one_later_is_still_seen(server, path):
    address, handler = server
    seen = 0

    def ready(gate: Gate) -> bool:
        nonlocal seen
        seen = handler.asked["/v2/models/digits/stats"]
        return gate.state.ready

    def failed(gate: Gate) -> bool:
        handler.fails_next.add(path)
        gate.server.drop()  # so that it reads all marks anew
        return True

    def looked_again(gate: Gate) -> bool:
        if handler.asked["/v2/models/digits/stats"] < seen + 3:
            return False
        assert gate.state.warmups == 1
        handler.count = 0
        return True

    guard(address, ready, failed, looked_again, lambda gate: gate.state.warmups == 2)


def test_marks_are_compared_where_both_are_told():
    known = Marks((b"a", b"b"), ((3,), (4, 4)), b"1")

    assert not known.differ(Marks((b"", b"b"), ((), (4, 5)), b""))
    assert known.differ(Marks((b"", b"c"), ((), ()), b""))
    assert known.differ(Marks((b"", b""), ((), (5, 3)), b""))
    assert known.differ(Marks((b"", b""), ((), (4,)), b""))
    assert known.differ(Marks((b"", b""), ((), ()), b"2"))
    assert not known.same_start(Marks((b"a", b"b"), ((), ()), b""))
    assert known.same_start(Marks((b"", b""), ((3,), ()), b""))
    assert known.then(Marks((b"", b"b"), ((), (5, 5)), b"")) == Marks((b"a", b"b"), ((3,), (5, 5)), b"1")


def test_a_stratum_with_one_bad_sample_gets_its_bursts_without_that_one(server):
    address, handler = server

    gate = guard(address, lambda gate: gate.state.ready)

    (report,) = gate.state.reports
    assert report.strata[0].failures == 1
    assert "bursts" in report.note
    assert handler.asked[BAD.body] == 1
    assert handler.asked[GOOD.body] > report.calls


@pytest.mark.parametrize("kind", [GrpcServer, HttpServer])
def test_a_file_of_tls_that_is_gone_is_waited_for_and_named(kind):
    async def ask() -> None:
        with with_tls(TlsOptions(Path("/nowhere/ca.pem"))):
            where = "grpcs://127.0.0.1:9" if kind is GrpcServer else Address.parse("https://127.0.0.1:9")
            await kind(where, [ModelSamples("digits", (GOOD,))]).check_ready()

    with pytest.raises(ServerGoneError, match="cannot read /nowhere") as caught:
        asyncio.run(ask())
    assert caught.value.reason == "no TLS connection to the server comes about"


def test_a_warm_up_whose_file_of_tls_is_gone_meets_faults_and_no_bug():
    async def send() -> None:
        with with_tls(TlsOptions(Path("/nowhere/ca.pem"))):
            sample = Sample("grpc", b"", Signature(()), 1, DEFAULT_PATHS["grpc"])
            transport = WireTransport([sample], None, "grpcs://127.0.0.1:9", "m", timeout=1, headers={})
        await transport.open(1)
        await transport.send(sample)

    with pytest.raises(RequestFailedError, match="cannot read /nowhere"):
        asyncio.run(send())
