"""The servers to verify: one that runs, or a command that is started anew each time."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kserve_warmup.errors import WarmupError
from kserve_warmup.processes import ServerProcess, free_ports
from kserve_warmup.transports.http import GRPC_TLS_SCHEME, Address, addresses, grpc_place

HTTP_PORT, GRPC_PORT, READY_PORT = PORTS = ("{http_port}", "{grpc_port}", "{ready_port}")
"""Stand in a command, and in the URL of its readiness, for ports that the kernel chooses anew for each start."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: where it speaks HTTP and gRPC, and when its process was started (``time.monotonic()``).

    ``ready`` is the URL that says so, None for the models' own endpoints. ``alive`` raises when the process has ended.
    ``started`` is None when it was running before.
    """

    http_url: str | None
    grpc_address: str | None
    started: float | None = None
    ready: str | None = None
    alive: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Live:
    """A server that runs already: its first request is one, and only if nobody has sent any before."""

    url: str
    grpc: str | None = None
    ready: str | None = None

    def __str__(self) -> str:
        """Return what is verified."""
        return self.url

    @contextlib.contextmanager
    def start(self) -> Iterator[Running]:
        """Yield the server as it is."""
        yield Running(*addresses(self.url, self.grpc), ready=self.ready)


@dataclass(frozen=True, slots=True)
class Command:
    """A command that starts a server, in a process group of its own that ends with the ``with`` block.

    All but ``env`` may hold :data:`PORTS`; without ``url`` the server will be on 127.0.0.1. ``env`` is the server's
    whole environment, None for this process's own.
    """

    args: Sequence[str]
    url: str | None = None
    grpc: str | None = None
    ready: str | None = None
    env: Mapping[str, str] | None = None

    def __str__(self) -> str:
        """Return what is verified."""
        return " ".join(self.args)

    def check(self) -> None:
        """Find out what is wrong before anything is started.

        Raises:
            WarmupError: it is not known where the server will be, or something else is there.
        """
        if not self.url and not any(HTTP_PORT in a or GRPC_PORT in a for a in self.args):
            how = f"give its URL before --, or write {HTTP_PORT} and {GRPC_PORT} into the command"
            raise WarmupError(f"it is not known where {self.args[0]} will listen: {how}")
        if self.url:
            http_url, grpc_address = self._places(dict.fromkeys(PORTS, 1))
            if http_url and HTTP_PORT not in self.url:
                _refuse_taken(Address.parse(http_url))
            if grpc_address and not any(name in f"{self.url} {self.grpc}" for name in PORTS):
                place = grpc_place(grpc_address)
                if place:
                    _refuse_taken(place)

    @contextlib.contextmanager
    def start(self) -> Iterator[Running]:
        """Start the command and yield the server, which may not be ready yet.

        Raises:
            WarmupError: there is no such program, or its port is taken.
            WarmupFailedError: from ``alive``, when the process has ended; carries the end of its output.
        """
        self.check()
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        *args, ready = (_filled(text, ports) for text in (*self.args, self.ready or ""))
        http_url, grpc_address = self._places(ports)
        with ServerProcess(args, env=self.env) as process:
            yield Running(http_url, grpc_address, process.started, ready or None, process.alive)

    def _places(self, ports: Mapping[str, int]) -> tuple[str | None, str | None]:
        """Return where HTTP and gRPC are spoken."""
        url = self.url or f"http://127.0.0.1:{HTTP_PORT}"
        grpc = self.grpc
        if grpc is None and HTTP_PORT in url:  # the port after it may be anybody's
            where = Address.parse(_filled(url, ports))
            scheme = GRPC_TLS_SCHEME if where.tls else ""
            grpc = f"{scheme}{Address(where.host, ports[GRPC_PORT])}"
        return addresses(_filled(url, ports), grpc and _filled(grpc, ports))


def _filled(text: str, ports: Mapping[str, int]) -> str:
    for name, port in ports.items():
        text = text.replace(name, str(port))
    return text


def _refuse_taken(address: Address) -> None:
    with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), timeout=1):
        raise WarmupError(f"something listens on {address} already: stop it, or write {HTTP_PORT} into the command")
