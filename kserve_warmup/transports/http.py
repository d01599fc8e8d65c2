"""HTTP/1.1: one request a call, the time of the answer's first byte, and the moment the server goes away.

What httpx hides is what is needed here: a connection that is watched while it is idle. A whole httpx would also cost a
sidecar ten megabytes. There are two ways to wait for the same exchange: over asyncio for what warms and watches a
server, and without a loop for what measures one.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from kserve_warmup.errors import WarmupError
from kserve_warmup.tls_options import TlsOptions, current_tls
from kserve_warmup.transports.exchange import CHUNK, Answer, ConnectionLostError, Exchange
from kserve_warmup.transports.tls_trouble import NO_FILES, how_to_mend, why_broken

__all__ = ["Address", "Answer", "Connection", "ConnectionLostError", "addresses", "fetch", "fetch_now", "reason"]

GRPC_SCHEME, GRPC_TLS_SCHEME = GRPC_SCHEMES = ("grpc://", "grpcs://")


_RESOLVED = re.compile(r"(unix|unix-abstract|dns|ipv4|ipv6|vsock):(?!\d+$)")
"""Names that gRPC resolves itself."""


class TlsFailedError(ConnectionLostError):
    """No TLS connection comes about: a certificate, a name or a file is at odds."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is: the parts of ``http(s)://host:port/prefix``.

    ``host`` is as the system takes it: an IPv6 address without brackets, with its zone if it has one. ``tls_options``
    are what a TLS connection is made with.
    """

    host: str
    port: int
    prefix: str = ""
    tls: bool = False
    tls_options: TlsOptions = field(default_factory=current_tls, compare=False, repr=False)

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
                host = _with_zone(where.hostname)
                return cls(host, where.port or (443 if tls else 80), where.path.rstrip("/"), tls)
        except ValueError:
            pass  # a port that is no number, brackets around no address
        raise WarmupError(f"{url!r} is not an HTTP address: give one such as http://localhost:8000")

    def __str__(self) -> str:
        """Return host and port, as a log shows them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """Return the host header: a zone means nothing on another machine (RFC 6874, 1)."""
        return str(replace(self, host=self.host.partition("%")[0]))

    def asked_as(self, headers: Mapping[str, str] | None) -> str:
        """Return the name that the certificate has to have."""
        return self.tls_options.name(self.host, (headers or {}).get("host"))


def _with_zone(host: str) -> str:
    """Return an address as the system takes it; a URL has %25 before the zone (RFC 6874), people write % alone."""
    address, percent, zone = host.partition("%")
    return f"{address}%{zone[2:] if zone.startswith('25') and zone != '25' else zone}" if percent else host


def addresses(url: str, grpc: str | None) -> tuple[str | None, str | None]:
    """Return where HTTP and gRPC are spoken; gRPC, unless told, on the port after HTTP's, as Triton and KServe do.

    gRPC is spoken over TLS where its address has ``grpcs://`` before it, and at the port after that of ``https://``:
    what opens one port must not go to the other in the clear.

    Raises:
        WarmupError: one of them is no address.
    """
    if url.startswith(GRPC_SCHEMES):
        return None, _grpc(url)
    where = Address.parse(url)
    scheme = GRPC_TLS_SCHEME if where.tls else ""
    return url, _grpc(grpc) if grpc else f"{scheme}{Address(where.host, where.port + 1)}"


def grpc_place(address: str) -> Address | None:
    """Return host and port of a gRPC address, None where gRPC itself has to find them out.

    Raises:
        WarmupError: it is none: the port is no number, or an IPv6 address has no brackets.
    """
    if _RESOLVED.match(address):
        return None
    bare = address.removeprefix(GRPC_SCHEME).removeprefix(GRPC_TLS_SCHEME)
    try:
        where = urlsplit(f"//{bare}")
        if where.hostname and where.netloc == bare and (":" not in where.hostname or bare.startswith("[")):
            return Address(_with_zone(where.hostname), where.port or 443)
    except ValueError:
        pass  # a port that is no number, brackets around no address
    raise WarmupError(f"{address!r} is not a gRPC address: give one such as localhost:8001 or grpcs://[::1]:8001")


def _grpc(address: str) -> str:
    grpc_place(address)
    return address.removeprefix(GRPC_SCHEME)


class Connection:
    """A connection to a server, for one request after the other; use :meth:`open`."""

    def __init__(self, address: Address, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take an open stream."""
        self._address = address
        self._reader, self._writer = reader, writer
        self._exchange = Exchange(address.authority)

    @classmethod
    async def open(cls, address: Address, headers: Mapping[str, str] | None = None) -> Connection:
        """Connect for requests with ``headers``, whose ``host`` is the name that a certificate has to have.

        Raises:
            ConnectionLostError: nothing listens there, or TLS failed.
        """
        tls, name = (_context(address), address.asked_as(headers)) if address.tls else (None, None)
        try:
            streams = await asyncio.open_connection(address.host, address.port, ssl=tls, server_hostname=name)
        except (OSError, UnicodeError) as error:
            raise _lost(f"cannot connect to {address}", error) from error
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
            raise _broken(self._address, error) from error
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
    exchange = Exchange(address.authority)
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
        raise _broken(address, error) from error


def _connected(address: Address, headers: Mapping[str, str], seconds: float) -> socket.socket:
    tls = _context(address) if address.tls else None
    try:
        stream = socket.create_connection((address.host, address.port), seconds)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls.wrap_socket(stream, server_hostname=address.asked_as(headers)) if tls else stream
    except TimeoutError:
        raise
    except (OSError, UnicodeError) as error:
        raise _lost(f"cannot connect to {address}", error) from error


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _context(address: Address) -> ssl.SSLContext:
    try:
        return address.tls_options.context()
    except WarmupError as error:  # a file that was good when the command began
        raise TlsFailedError(f"{NO_FILES} {address}: {error}") from error


def _broken(address: Address, error: OSError) -> ConnectionLostError:
    lost = _lost(f"{address} broke the connection", error)
    if not address.tls or (isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)):
        return lost
    return type(lost)(f"{lost}{why_broken(shows=address.tls_options.cert is not None)}")


def _lost(what: str, error: OSError | UnicodeError) -> ConnectionLostError:
    if isinstance(error, ssl.SSLError):
        return TlsFailedError(f"{what}: {how_to_mend(str(error))}")
    return ConnectionLostError(f"{what}: {reason(error) if isinstance(error, OSError) else error}")


def reason(error: OSError) -> str:
    """Return why the system refused; asyncio puts the address into the place where the system's words belong."""
    of_the_system = error.errno in errno.errorcode and not isinstance(error, ssl.SSLError)
    return os.strerror(error.errno) if error.errno and of_the_system else str(error) or type(error).__name__
