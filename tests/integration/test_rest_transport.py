"""Requests over real HTTP: what counts as their latency, and what as a failure."""

import asyncio
import json
import socket
import subprocess
import sys
import time

import pytest
from gate_process import GateProcess
from held_ports import free_ports
from kserve_server import HERE
from openai_server import REST_SECONDS
from sample_sets import samples, save

from kserve_warmup.errors import WarmupError
from kserve_warmup.latency import Target, latency_ms
from kserve_warmup.processes import ServerProcess
from kserve_warmup.protocols.bodies import request
from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.transports.http import Address, Connection, ConnectionLostError
from kserve_warmup.transports.rest import RestTransport


def chat(prompt="hello", *, stream=True):
    body = {"model": "model", "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    return request("openai", json.dumps(body).encode(), path="/v1/chat/completions")


@pytest.fixture(scope="module")
def url():
    (port,) = free_ports(1)
    with ServerProcess([sys.executable, str(HERE / "openai_server.py"), str(port)]):
        deadline = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


def send(url, sample):
    return asyncio.run(RestTransport(url, "model", timeout=30).send(sample))


@pytest.mark.alone
def test_a_stream_counts_until_its_first_event_and_is_read_to_its_end(url):
    begin = time.perf_counter()

    first = send(url, chat("long"))

    assert first < REST_SECONDS < time.perf_counter() - begin
    assert latency_ms(chat("long"), Target(url, "model"), pace=0) < 1000 * REST_SECONDS


@pytest.mark.alone
def test_a_whole_answer_counts_until_its_end(url):
    assert send(url, chat("long", stream=False)) > REST_SECONDS
    assert latency_ms(chat("long", stream=False), Target(url, "model"), pace=0) > 1000 * REST_SECONDS


@pytest.mark.parametrize(
    ("prompt", "problem"),
    [
        ("fail", 'HTTP 404: {"error":{"message":"no such model"}}'),
        ("fail in the stream", 'the stream tells of an error: {"error": {"message": "out of memory"}}'),
        ("say nothing", "a stream without a single event"),
        ("break off", "broke off its answer"),
    ],
)
def test_an_answer_that_is_no_success_is_a_failure_in_one_line(url, prompt, problem):
    with pytest.raises(RequestFailedError) as failure:
        send(url, chat(prompt))

    assert problem in str(failure.value)
    assert "\n" not in str(failure.value)


def test_no_server_is_a_failure_in_one_line():
    with pytest.raises(RequestFailedError, match=r"cannot connect to 127.0.0.1:9: Connection refused"):
        send("http://127.0.0.1:9", chat())


@pytest.mark.parametrize("url", ["localhost:80", "ftp://host", "http://", "http://host:port", "http://host/?a=1"])
def test_what_is_no_address_is_told(url):
    with pytest.raises(WarmupError, match="is not an HTTP address: give one such as"):
        Address.parse(url)


async def hang_up(_, writer):
    await asyncio.sleep(0.05)
    writer.close()


async def with_server(handler, use):
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    connection = await Connection.open(Address("127.0.0.1", server.sockets[0].getsockname()[1], "", tls=False))
    try:
        return await use(connection)
    finally:
        connection.close()
        server.close()


def test_a_connection_that_the_server_ends_is_noticed_at_once():
    assert asyncio.run(with_server(hang_up, lambda connection: connection.stays_open(30))) is False


def test_a_server_that_hangs_up_without_an_answer_is_told():
    with pytest.raises(ConnectionLostError, match="closed the connection without an answer"):
        asyncio.run(with_server(hang_up, lambda connection: connection.request("GET", "/")))


def test_a_server_of_http_1_0_is_read_to_the_end_and_not_asked_twice():
    async def old(reader, writer):
        await reader.readline()
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        writer.close()

    async def use(connection):
        return (await connection.request("GET", "/")).body, connection.reuse()

    assert asyncio.run(with_server(old, use)) == (b"all of it", False)


def test_the_gate_warms_a_streaming_server(url, tmp_path):
    made = tuple(s.with_weight(0.5) for s in (chat(), chat("a somewhat longer prompt than before")))
    SampleSet("model", made).save(tmp_path / "set")

    with GateProcess(url, tmp_path / "set", "--max-seconds", 3) as gate:
        gate.wait_phase("ready")
        time.sleep(3)  # in which the server closes connections that the gate holds
        assert gate.state["ready"]
        assert gate.state["warmups"] == 1
        strata = json.loads(gate.get("/report")[1])["strata"]

    assert [(s["failures"], s["first_ms"] > 0) for s in strata] == [(0, True)] * 2
    assert {(s["signature"], s["variant"]) for s in strata} == {
        ("chat:BYTES[N,8]", "stream"),
        ("chat:BYTES[N,64]", "stream"),
    }


def test_several_requests_at_once_are_sent_where_that_is_asked_for_and_told_by_their_number(url, tmp_path):
    SampleSet("model", (chat("one two three"),)).save(tmp_path / "set")
    with GateProcess(url, tmp_path / "set", "--concurrency", "3,1", "--max-tokens", "4") as gate:
        gate.wait_phase("ready")
        report = json.loads(gate.get("/report")[1])

    assert [(level["at_once"], len(level["strata"])) for level in report["levels"]] == [(3, 1)]
    assert {len(s["per_token_ms"]) == len(s["latencies_ms"]) > 0 for s in report["strata"]} == {True}
    assert "3 requests at once: " in gate.log


def test_verify_judges_a_stream_by_its_first_token_and_by_token(url, tmp_path):
    SampleSet("model", (chat("one two three"),)).save(tmp_path / "set")
    arguments = [url, "--samples", tmp_path / "set", "--pace", "0.01", "--requests", "4", "--max-ratio", "99", "--json"]
    command = [sys.executable, "-m", "kserve_warmup", "verify", *map(str, arguments)]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["rows"]

    assert [row["name"].endswith("by token") for row in rows] == [False, False, True]


@pytest.mark.parametrize("levels", ["0", "1,9999", "x"])
def test_what_is_no_number_of_requests_at_once_is_refused(url, tmp_path, levels):
    SampleSet("model", (chat(),)).save(tmp_path / "set")
    with GateProcess(url, tmp_path / "set", "--concurrency", levels) as gate:
        assert gate.process.wait(30) == 2
        assert "--concurrency" in gate.stop()


def test_a_server_without_the_sample_s_endpoint_is_told(url, tmp_path):
    folder = save(tmp_path / "v1", samples("v1", rows=(1,)))

    with GateProcess(url, folder) as gate:
        assert gate.wait(lambda s: "ready" in s["detail"])["detail"] == "model is not ready"
    assert "the server lists it: it may speak another protocol than the samples" in gate.log
