"""HTTP/1.1 over asyncio: one request a call, the time of the answer's first byte, and the moment the server goes away.

h11 speaks the protocol; what httpx hides is what is needed here: a connection that is watched while it is idle. A whole
httpx would also cost a sidecar ten megabytes.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import h11

from kserve_warmup.errors import WarmupError

KEPT_BYTES = 1 << 20
"""Of a longer answer only the head is kept: nobody here reads tensors."""

_CHUNK = 1 << 16


GRPC_SCHEME = "grpc://"


class ConnectionLostError(Exception):
    """The server is not there, broke the connection, or speaks no HTTP; the message says which, in one line."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: the parts of ``http(s)://host:port/prefix``."""

    host: str
    port: int
    prefix: str
    tls: bool

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
        return f"{self.host}:{self.port}"


def addresses(url: str, grpc: str | None) -> tuple[str | None, str | None]:
    """Return where HTTP and gRPC are spoken; gRPC, unless told, on the port after HTTP's, as Triton and KServe do.

    Raises:
        WarmupError: the URL is no address.
    """
    if url.startswith(GRPC_SCHEME):
        return None, url.removeprefix(GRPC_SCHEME)
    where = Address.parse(url)
    return url, grpc or f"{where.host}:{where.port + 1}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer.

    ``body`` is cut after :data:`KEPT_BYTES`. ``first_byte`` and ``end`` are when its body began and ended, on the clock
    of ``time.perf_counter()``.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    first_byte: float
    end: float

    @property
    def ok(self) -> bool:
        """Return whether the status is a success."""
        return 200 <= self.status < 300  # noqa: PLR2004

    @property
    def refused(self) -> bool:
        """Return whether the status says that the request is at fault."""
        return 400 <= self.status < 500  # noqa: PLR2004

    @property
    def text(self) -> str:
        """Return the head of the body in one line, for an error."""
        return " ".join(self.body[:800].decode(errors="replace").split())[:200]


class Connection:
    """A connection to a server, for one request after the other; use :meth:`open`."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open stream."""
        self._address = address
        self._reader, self._writer = reader, writer
        self._h11 = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, address: Address) -> Connection:
        """Connect.

        Raises:
            ConnectionLostError: nothing listens there, or TLS failed.
        """
        try:
            streams = await asyncio.open_connection(address.host, address.port, ssl=address.tls or None)
        except OSError as error:
            raise ConnectionLostError(f"cannot connect to {address}: {reason(error)}") from error
        return cls(address, *streams)

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """Send one request and return its whole answer.

        Raises:
            ConnectionLostError: the connection broke before the answer was complete.
        """
        head = {"host": str(self._address), **(headers or {})}
        if body is not None:
            head["content-length"] = str(len(body))
        try:
            target = f"{self._address.prefix}{path}"
            self._writer.write(self._h11.send(h11.Request(method=method, target=target, headers=list(head.items()))))
            self._writer.write((self._h11.send(h11.Data(body)) or b"") if body else b"")
            self._writer.write(self._h11.send(h11.EndOfMessage()) or b"")
            await self._writer.drain()
            return await self._answer()
        except OSError as error:
            raise ConnectionLostError(f"{self._address} broke the connection: {reason(error)}") from error
        except h11.RemoteProtocolError as error:
            raise ConnectionLostError(f"{self._address} broke off its answer: {error}") from error
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise ConnectionLostError(f"{path!r} cannot be asked for over HTTP: {error}") from error

    async def _answer(self) -> Answer:
        status, headers, first = 0, {}, 0.0
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                data = await self._reader.read(_CHUNK)
                if not data and not status:
                    raise ConnectionLostError(f"{self._address} closed the connection without an answer")
                self._h11.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                first = first or time.perf_counter()
                body += event.data[: KEPT_BYTES - len(body)]
            elif isinstance(event, h11.EndOfMessage):
                end = time.perf_counter()
                return Answer(status, headers, bytes(body), first or end, end)

    def reuse(self) -> bool:
        """Make ready for the next request; False when the server has announced that it closes the connection."""
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True

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
    """Send one request on a connection of its own.

    Raises:
        ConnectionLostError: there is no server, or it broke off.
    """
    connection = await Connection.open(address)
    try:
        return await connection.request(method, path, {"connection": "close", **(headers or {})}, body)
    finally:
        connection.close()


def reason(error: OSError) -> str:
    """Return why the system refused; asyncio puts the address into the place where the system's words belong."""
    of_the_system = error.errno in errno.errorcode and not isinstance(error, ssl.SSLError)
    return os.strerror(error.errno) if error.errno and of_the_system else str(error)
