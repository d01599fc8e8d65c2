"""The HTTP client: addresses of every kind, and certificates that are checked."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from authority import Authority, server_context

from kserve_warmup.errors import WarmupError
from kserve_warmup.transports.http import Address, Answer, Connection, ConnectionLostError, addresses, fetch, fetch_now

NAME = "digits.example.com"


class Host(BaseHTTPRequestHandler):
    """Answers with the host that it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.headers["host"].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Web(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(("::1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def trusted(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The server with a certificate for NAME alone, of an authority that SSL_CERT_FILE names."""
    authority = Authority(tmp_path)
    web.socket = server_context(authority.issue("server", NAME)).wrap_socket(web.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    return web


def both(address: Address, headers: dict[str, str]) -> list[Answer]:
    """Ask with and without an event loop."""
    return [
        asyncio.run(fetch(address, "GET", "/", headers)),
        fetch_now(address, "GET", "/", headers, None, seconds=10),
    ]


def test_an_ipv6_literal_is_reached_and_stands_in_brackets_wherever_a_port_follows(web):
    url = f"http://[::1]:{web.server_port}"
    address = Address.parse(url)

    assert str(address) == f"[::1]:{web.server_port}"
    assert [answer.body.decode() for answer in both(address, {})] == [str(address)] * 2
    assert addresses(url, None) == (url, f"[::1]:{web.server_port + 1}")
    assert addresses("grpc://[::1]:8001", None) == (None, "[::1]:8001")
    with pytest.raises(ConnectionLostError, match=r"cannot connect to \[::1\]:9: "):
        asyncio.run(fetch(Address.parse("http://[::1]:9"), "GET", "/"))


@pytest.mark.parametrize(
    ("url", "host", "authority"),
    [
        ("http://[fe80::1%25eth0]:80", "fe80::1%eth0", "[fe80::1]:80"),
        ("http://[fe80::1%eth0]:80", "fe80::1%eth0", "[fe80::1]:80"),
        ("http://[fe80::1%25]:80", "fe80::1%25", "[fe80::1]:80"),
        ("http://[::1]:80", "::1", "[::1]:80"),
        ("http://a.example", "a.example", "a.example:80"),
    ],
)
def test_the_zone_of_an_address_is_for_the_system_and_never_sent(url, host, authority):
    address = Address.parse(url)

    assert (address.host, address.authority) == (host, authority)
    assert address.asked_as(None) == authority.rpartition(":")[0].strip("[]")


@pytest.mark.parametrize("url", ["http://[::1", "http://::1:80", "http://[::1]:port", "http://"])
def test_what_is_no_address_is_told(url):
    with pytest.raises(WarmupError, match="is not an HTTP address"):
        Address.parse(url)


@pytest.mark.parametrize(
    ("url", "grpc", "where"),
    [
        ("https://a:443", None, "grpcs://a:444"),
        ("https://a:443", "b:81", "b:81"),
        ("http://a", "grpcs://[::1]:81", "grpcs://[::1]:81"),
        ("http://a", "grpc://b:81", "b:81"),
        ("grpcs://[fe80::1%25eth0]:81", None, "grpcs://[fe80::1%25eth0]:81"),
        ("http://a", "unix:///run/grpc.sock", "unix:///run/grpc.sock"),
        ("http://a", "dns:///b:81", "dns:///b:81"),
        ("http://a", "dns:81", "dns:81"),
    ],
)
def test_grpc_is_spoken_over_tls_where_it_is_asked_for_and_beside_https(url, grpc, where):
    assert addresses(url, grpc)[1] == where


@pytest.mark.parametrize("grpc", ["::1:81", "http://a:81", "a:port", "a/b", ""])
def test_what_is_no_grpc_address_is_told(grpc):
    with pytest.raises(WarmupError, match="is not a gRPC address"):
        addresses(f"grpc://{grpc}", None)


def test_a_certificate_is_checked_for_the_host_that_is_asked_for(trusted):
    address = Address("::1", trusted.server_port, tls=True)

    assert ip_address(address.host).version == 6
    assert [answer.body.decode() for answer in both(address, {"host": f"{NAME}:443"})] == [f"{NAME}:443"] * 2
    with pytest.raises(ConnectionLostError, match="certificate"):
        asyncio.run(fetch(address, "GET", "/", {"host": "other.example.com"}))
    with pytest.raises(ConnectionLostError, match="certificate"):
        fetch_now(address, "GET", "/", {}, None, seconds=10)


def test_a_certificate_of_nobody_known_is_refused(trusted, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(ConnectionLostError, match="certificate"):
        asyncio.run(fetch(Address("::1", trusted.server_port, tls=True), "GET", "/", {"host": NAME}))


def test_an_idle_connection_tells_when_the_server_closes_it(trusted):
    async def run() -> list[bool]:
        headers = {"host": NAME}
        connection = await Connection.open(Address("::1", trusted.server_port, tls=True), headers)
        answer = await connection.request("GET", "/", {**headers, "connection": "close"})
        return [answer.ok, await connection.stays_open(10)]

    assert asyncio.run(run()) == [True, False]
