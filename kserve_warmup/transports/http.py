"""HTTP/1.1: one request a call, the time of the answer's first byte, and the moment the server goes away.

What httpx hides is what is needed here: a connection that is watched while it is idle. A whole httpx would also cost a
sidecar ten megabytes. There are two ways to wait for the same exchange: over asyncio for what warms and watches a
server, and without a loop for what measures one.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from kserve_warmup.errors import WarmupError
from kserve_warmup.transports.exchange import CHUNK, Answer, ConnectionLostError, Exchange

__all__ = ["Address", "Answer", "Connection", "ConnectionLostError", "addresses", "fetch", "fetch_now", "reason"]

GRPC_SCHEME = "grpc://"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: the parts of ``http(s)://host:port/prefix``."""

    host: str
    port: int
    prefix: str = ""
    tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the parts of ``url``.

        Raises:
            WarmupError: it is no HTTP address.
        """
        try:
            where = urlsplit(url)
            tls = where.scheme == "https"
            if where.scheme in ("http", "https") and where.hostname and not (where.query or where.fragment):
                return cls(where.hostname, where.port or (443 if tls else 80), where.path.rstrip("/"), tls)
        except ValueError:
            pass  # a port that is no number
        raise WarmupError(f"{url!r} is not an HTTP address: give one such as http://localhost:8000")

    def __str__(self) -> str:
        """Return host and port, as a log shows them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def addresses(url: str, grpc: str | None) -> tuple[str | None, str | None]:
    """Return where HTTP and gRPC are spoken; gRPC, unless told, on the port after HTTP's, as Triton and KServe do.

    Raises:
        WarmupError: the URL is no address.
    """
    if url.startswith(GRPC_SCHEME):
        return None, url.removeprefix(GRPC_SCHEME)
    where = Address.parse(url)
    return url, grpc or str(Address(where.host, where.port + 1))


class Connection:
    """A connection to a server, for one request after the other; use :meth:`open`."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open stream."""
        self._address = address
        self._reader, self._writer = reader, writer
        self._exchange = Exchange(str(address))

    @classmethod
    async def open(cls, address: Address, headers: Mapping[str, str] | None = None) -> Connection:
        """Connect for requests with ``headers``, whose ``host`` is the name that a certificate has to have.

        Raises:
            ConnectionLostError: nothing listens there, or TLS failed.
        """
        try:
            tls, name = (_tls(), _name(address, headers)) if address.tls else (None, None)
            streams = await asyncio.open_connection(address.host, address.port, ssl=tls, server_hostname=name)
        except OSError as error:
            raise ConnectionLostError(f"cannot connect to {address}: {reason(error)}") from error
        return cls(address, *streams)

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send one request and return its whole answer.

        Raises:
            ConnectionLostError: the connection broke before the answer was complete, or the answer has no end.
        """
        exchange = self._exchange
        try:
            self._writer.writelines(exchange.ask(method, f"{self._address.prefix}{path}", headers or {}, body))
            await self._writer.drain()
            while (answer := exchange.advance()) is None:
                if exchange.hungry:
                    exchange.feed(await self._reader.read(CHUNK))
                else:
                    await asyncio.sleep(0)
        except OSError as error:
            raise ConnectionLostError(f"{self._address} broke the connection: {reason(error)}") from error
        return answer

    def reuse(self) -> bool:
        """Make ready for the next request; False when the server has announced that it closes the connection."""
        return self._exchange.reuse()

    async def stays_open(self, seconds: float) -> bool:
        """Wait while nothing is under way; return False as soon as the server closes or breaks the connection."""
        try:
            await asyncio.wait_for(self._reader.read(1), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            return True
        except OSError:
            return False
        return False  # the end, or bytes that nobody asked for

    def close(self) -> None:
        """Close at once, whatever is under way."""
        self._writer.transport.abort()


async def fetch(
    address: Address, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Answer:
    """Send one request on a connection of its own; how long that may take is for the caller to say.

    Raises:
        ConnectionLostError: there is no server, it broke off, or its answer has no end.
    """
    connection = await Connection.open(address, headers)
    try:
        return await connection.request(method, path, {"connection": "close", **(headers or {})}, body)
    finally:
        connection.close()


def fetch_now(
    address: Address, method: str, path: str, headers: Mapping[str, str], body: bytes | None, *, seconds: float
) -> Answer:
    """Send one request on a connection of its own, and wait for the answer without an event loop.

    A loop's own work would be a third of a millisecond of each latency that is measured.

    Raises:
        ConnectionLostError: there is no server, it broke off, its answer has no end, or is not complete in time.
    """
    deadline = time.monotonic() + seconds
    exchange = Exchange(str(address))
    try:
        with _connected(address, headers, seconds) as stream:
            target = f"{address.prefix}{path}"
            for part in exchange.ask(method, target, {"connection": "close", **headers}, body):
                stream.settimeout(_left(deadline))
                stream.sendall(part)
            while (answer := exchange.advance()) is None:
                stream.settimeout(_left(deadline))
                if exchange.hungry:
                    exchange.feed(stream.recv(CHUNK))
            return answer
    except TimeoutError:
        raise ConnectionLostError(f"{address} gave no whole answer within {seconds:.3g} s") from None
    except OSError as error:
        raise ConnectionLostError(f"{address} broke the connection: {reason(error)}") from error


def _connected(address: Address, headers: Mapping[str, str], seconds: float) -> socket.socket:
    try:
        stream = socket.create_connection((address.host, address.port), seconds)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _tls().wrap_socket(stream, server_hostname=_name(address, headers)) if address.tls else stream
    except TimeoutError:
        raise
    except OSError as error:
        raise ConnectionLostError(f"cannot connect to {address}: {reason(error)}") from error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


@cache
def _tls() -> ssl.SSLContext:
    """Return the system's own trust, or that of SSL_CERT_FILE, which takes milliseconds to read."""
    return ssl.create_default_context()


def _name(address: Address, headers: Mapping[str, str] | None) -> str:
    """Return the name that the server is asked for: behind an address there may be many."""
    return urlsplit(f"//{(headers or {}).get('host', '')}").hostname or address.host


def reason(error: OSError) -> str:
    """Return why the system refused; asyncio puts the address into the place where the system's words belong."""
    of_the_system = error.errno in errno.errorcode and not isinstance(error, ssl.SSLError)
    return os.strerror(error.errno) if error.errno and of_the_system else str(error) or type(error).__name__
