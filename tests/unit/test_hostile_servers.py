"""Servers that answer with whatever: who asks them is done in time, with one clear line, and little of it in memory."""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import grpc
import pytest

from kserve_warmup import latency
from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.gate import guarded as gate_server
from kserve_warmup.gate.guarded import HttpServer, ServerGoneError
from kserve_warmup.latency import Target, wait_ready
from kserve_warmup.samples.sample import Sample, Signature
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.transports import exchange
from kserve_warmup.transports import grpc as grpc_transport
from kserve_warmup.transports.exchange import ConnectionLostError, Exchange
from kserve_warmup.transports.http import Address

OK = b"HTTP/1.1 200 OK\r\n"
SECONDS = 0.5
"""The deadline of every request here."""

DRIPS = int(8 * SECONDS / 0.05)
"""After so many drips a server has ended its answer: who waits for that has missed the deadline."""


def endless(head: bytes, part: bytes) -> Iterator[bytes]:
    yield head
    while True:
        yield part * max(1, 65536 // len(part))


def dripped(head: bytes, parts: list[bytes], end: bytes = b"") -> Iterator[bytes]:
    yield head
    for part in itertools.islice(itertools.cycle(parts), DRIPS):
        time.sleep(0.05)
        yield part
    yield end


def said(*parts: bytes) -> Iterator[bytes]:
    yield from parts


LIMIT = "more than 4 MiB"
LATE = "within 0.5 s"
HOSTILE: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "interim answers without end": (lambda: endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), "interim answers"),
    "100 without end": (lambda: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "interim answers"),
    "interim answers dripped": (lambda: dripped(b"", [b"HTTP/1.1 102 Processing\r\n\r\n"]), LATE),
    "headers without end": (lambda: endless(OK, b"x: y\r\n"), "broke off"),
    "a header line without end": (lambda: endless(OK + b"x: ", b"y"), "broke off"),
    "a status line without end": (lambda: endless(b"HTTP/1.1 200 ", b"O"), "broke off"),
    "headers dripped": (lambda: dripped(OK, [b"x: y\r\n"], b"content-length: 0\r\n\r\n"), LATE),
    "a body without end": (lambda: endless(OK + b"\r\n", b"x" * 65536), LIMIT),
    "a body of a petabyte": (lambda: endless(OK + b"content-length: 1125899906842624\r\n\r\n", b"x" * 65536), LIMIT),
    "chunks without end": (
        lambda: endless(OK + b"transfer-encoding: chunked\r\n\r\n", b"4000\r\n" + b"x" * 0x4000 + b"\r\n"),
        LIMIT,
    ),
    "tiny chunks without end": (
        lambda: endless(OK + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        f"{LIMIT}|{LATE}",
    ),
    "a chunk's length without end": (lambda: endless(OK + b"transfer-encoding: chunked\r\n\r\n", b"f"), "broke off"),
    "a chunk's extension without end": (
        lambda: endless(OK + b"transfer-encoding: chunked\r\n\r\n1;", b"x"),
        "broke off",
    ),
    "trailers without end": (
        lambda: endless(OK + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
        "broke off",
    ),
    "a negative chunk": (lambda: said(OK, b"transfer-encoding: chunked\r\n\r\n-1\r\nx\r\n"), "broke off"),
    "a chunk of 2^80 bytes": (
        lambda: endless(OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 20 + b"\r\n", b"x" * 65536),
        LIMIT,
    ),
    "a body dripped": (lambda: dripped(OK + b"\r\n", [b"x"]), LATE),
    "a stream dripped": (
        lambda: dripped(OK + b"content-type: text/event-stream\r\n\r\n", [b"data: {}\n\n"]),
        LATE,
    ),
    "nothing at all": (lambda: dripped(b"", [b""]), LATE),
    "a closed door": (lambda: said(b""), "without an answer"),
    "half a status line": (lambda: said(b"HTTP/1.1 2"), "broke off|without an answer"),
    "half a body": (lambda: said(OK, b"content-length: 9\r\n\r\nxx"), "broke off"),
    "half a chunk": (lambda: said(OK, b"transfer-encoding: chunked\r\n\r\n9\r\nxx"), "broke off"),
    "no HTTP": (lambda: said(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 30, b"\n\n"), "broke off"),
    "a status of four digits": (lambda: said(b"HTTP/1.1 2000 OK\r\n\r\n"), "broke off"),
    "a status that is a word": (lambda: said(b"HTTP/1.1 fine OK\r\n\r\n"), "broke off"),
    "a negative length": (lambda: said(OK, b"content-length: -1\r\n\r\n"), "broke off"),
    "two lengths": (lambda: said(OK, b"content-length: 1\r\ncontent-length: 2\r\n\r\nx"), "broke off"),
    "a length that is a word": (lambda: said(OK, b"content-length: many\r\n\r\n"), "broke off"),
    "an unknown encoding": (lambda: said(OK, b"transfer-encoding: gzip\r\n\r\nx"), "broke off"),
    "a nul in a header": (lambda: said(OK, b"x: \0\r\ncontent-length: 0\r\n\r\n"), "broke off"),
    "a header without a name": (lambda: said(OK, b": y\r\n\r\n"), "broke off"),
    "another protocol": (
        lambda: said(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"),
        "broke off|without an answer",
    ),
    "terminal codes in an error": (
        lambda: said(b"HTTP/1.1 500 No\r\ncontent-length: 12\r\n\r\n\x1b[31mred\n\x07ok"),
        "HTTP 500",
    ),
}


@contextmanager
def serving(script: Callable[[], Iterator[bytes]]) -> Iterator[str]:
    """Answer every connection with a script, until the client has gone."""

    def answer(stream: socket.socket) -> None:
        with stream, suppress(OSError):
            stream.settimeout(10)
            request = stream.recv(65536)
            while request.startswith(b"POST") and not request.endswith(b"{}"):  # closing on what is unread is a reset
                request += stream.recv(65536)
            for part in script():
                stream.sendall(part)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch):
    monkeypatch.setattr(exchange, "MOST_BYTES", 4 << 20)
    monkeypatch.setattr(latency, "REQUEST_SECONDS", SECONDS)
    monkeypatch.setattr(gate_server, "HEALTH_TIMEOUT", SECONDS)


def a_sample(protocol="v2"):
    body = b"" if protocol == "grpc" else b"{}"
    return Sample(protocol, body, Signature(()), 1, "/v2/models/{model}/infer")


@contextmanager
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_measured_request_to_a_hostile_server_fails_in_one_clear_line(name):
    script, problem = HOSTILE[name]
    with serving(script) as url, little_memory(), pytest.raises(WarmupFailedError, match=problem) as failure:
        latency.send(a_sample(), Target(url, "digits"))
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 500


@pytest.mark.parametrize("name", HOSTILE)
def test_the_gate_s_question_to_a_hostile_server_fails_in_one_clear_line(name):
    script, problem = HOSTILE[name]

    async def ask(url: str) -> None:
        server = HttpServer(Address.parse(url), [SampleSet("digits", (a_sample(),))])
        try:
            await server.check_ready()
        finally:
            server.drop()

    with serving(script) as url, little_memory(), pytest.raises(ServerGoneError) as failure:
        asyncio.run(ask(url))
    message = str(failure.value)
    assert re.search(problem, message) or (LATE in problem and "gives no answer" in message)
    assert "\n" not in message
    assert len(message) < 500


@pytest.mark.parametrize("name", ["a body dripped", "headers dripped", "interim answers dripped", "nothing at all"])
def test_waiting_for_ready_ends_at_its_timeout_whatever_the_server_drips(name):
    script, _ = HOSTILE[name]
    with serving(script) as url, pytest.raises(WarmupFailedError, match=r"was not ready after 0\.4 s"):
        wait_ready(Target(url, "digits"), timeout=0.4)


def test_what_arrives_at_once_is_taken_a_few_events_at_a_time():
    client = Exchange("a server")
    client.ask("GET", "/", {}, None)
    client.feed(OK + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10_000)
    turns = 0
    while not client.hungry:
        assert client.advance() is None
        turns += 1
    assert turns > 300


def test_a_few_interim_answers_are_passed_over():
    client = Exchange("a server")
    client.ask("GET", "/", {}, None)
    client.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3 + OK + b"content-length: 2\r\n\r\nok")
    answer = client.advance()
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"ok")


def test_of_a_long_answer_only_the_head_is_kept():
    client = Exchange("a server")
    client.ask("GET", "/", {}, None)
    client.feed(OK + b"content-length: 3145728\r\n\r\n")
    for _ in range(48):
        assert client.advance() is None
        client.feed(b"x" * 65536)
    answer = client.advance()
    assert answer is not None
    assert len(answer.body) == exchange.KEPT_BYTES


def test_a_request_that_http_does_not_have_is_told():
    with pytest.raises(ConnectionLostError, match="cannot be asked for over HTTP"):
        Exchange("a server").ask("GET", "/\r\nx: y", {}, None)


class Large(grpc.GenericRpcHandler):
    """Answers every call with five MiB."""

    def service(self, _: object) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda _body, _context: bytes(5 << 20))


@pytest.fixture
def large() -> Iterator[str]:
    options = [("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Large()], options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def limited(size: int) -> tuple[tuple[str, int], ...]:
    return tuple(
        (name, size if name == "grpc.max_receive_message_length" else value) for name, value in grpc_transport.OPTIONS
    )


def test_a_large_answer_over_grpc_is_measured(large):
    assert len(latency.send(a_sample("grpc"), Target(large, "digits"))) == 5 << 20


def test_an_answer_over_grpc_that_is_beyond_the_limit_is_one_clear_line(large, monkeypatch):
    assert 0 < dict(grpc_transport.OPTIONS)["grpc.max_receive_message_length"] <= 1 << 28
    monkeypatch.setattr(grpc_transport, "OPTIONS", limited(1 << 20))
    with pytest.raises(WarmupFailedError, match=r"RESOURCE_EXHAUSTED: .*larger than max"):
        latency.send(a_sample("grpc"), Target(large, "digits"))


def test_a_grpc_server_that_never_answers_ends_the_wait_in_time():
    with serving(HOSTILE["nothing at all"][0]) as url:
        with pytest.raises(WarmupFailedError, match=r"was not ready after 0\.4 s"):
            wait_ready(Target(url.removeprefix("http://"), "digits"), "grpc", timeout=0.4)
        with pytest.raises(WarmupFailedError, match="failed: gRPC"):
            latency.send(a_sample("grpc"), Target(url.removeprefix("http://"), "digits"))
