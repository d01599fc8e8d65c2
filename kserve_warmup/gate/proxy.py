"""The gate's port for users: opened once the server is warm, and held, not closed, while it is not warm any more.

Until the first time that the server is warm nothing listens there, so that a probe of any kind fails: TCP (Knative's
and KServe's own), HTTP and gRPC. From then on it stays open. A server that restarts is not seen by users: what they
send waits until it is warm again, and ``/ready`` and the models' own ready endpoints say 503 meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from contextlib import suppress
from dataclasses import replace

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.gate import proxy_config
from kserve_warmup.gate.gate_plan import Plan
from kserve_warmup.gate.gate_state import State
from kserve_warmup.gate.haproxy import HAProxy, find
from kserve_warmup.transports.http import Address, reason

logger = logging.getLogger("kserve_warmup.gate")

LOOK_SECONDS = 0.1
"""Between two looks whether the last request is answered, and whether the server can be reached."""

MOST_ENDS = 5
"""HAProxy is started anew when it ends; so often in a row, and the gate ends too."""

SHORT_LIFE = 10.0
"""Seconds; who lived longer does not count as one in a row."""

_STREAM = re.compile(
    r"^(?P<address>0x\w+): \[[^\]]+\] id=(?P<number>\d+) \S+ source=(?P<source>\S+)\n.*\n  frontend=users ",
    re.MULTILINE,
)


class Proxy:
    """HAProxy under the gate's control; the port is bound from the beginning, so that it is certain to be free."""

    def __init__(self, plan: Plan, port: int) -> None:
        """Bind the port; nothing listens yet.

        Raises:
            WarmupError: the port is taken, or HAProxy is not there.
        """
        self.plan = plan
        self._program = find()
        self._bound = _bound(plan.host, port)
        self._nobody = _Nobody()
        self._changed = asyncio.Event()
        self._warm = self._open = self._stopping = False
        self._haproxy: HAProxy | None = None
        self._pages = ""
        self._ends = 0
        self._sent_anew: set[str] = set()

    @property
    def address(self) -> Address:
        """Where users connect."""
        return Address(*self._bound.getsockname()[:2])

    def follow(self, state: State) -> None:
        """Take notice of the gate's new state."""
        if state.ready != self._warm:
            self._warm = state.ready
            self._changed.set()

    def shown(self, state: State) -> State:
        """Return what ``/ready`` may say: nobody is sent to a port that is not open yet, or not any more."""
        if not state.ready or (self._open and not self._stopping):
            return state
        return replace(state, phase="waiting", detail="stopping" if self._stopping else "opens the port for users")

    async def run(self, pages: str) -> None:
        """Open and hold the port as the gate's state asks for, until cancelled.

        Raises:
            WarmupFailedError: HAProxy ends again and again.
        """
        self._pages = pages
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await (self._let_in() if self._warm else self._hold())
            except (OSError, WarmupFailedError) as error:
                await self._ended(error)

    async def _let_in(self) -> None:
        """Send users to the server."""
        plan, places = self.plan, []
        for backend, url in (("http", plan.http_url), ("grpc", plan.grpc_address)):
            if url is not None:
                places.append((backend, await _reached(Address.parse(url if "//" in url else f"http://{url}"))))
        if not any(place for _, place in places):
            await asyncio.sleep(LOOK_SECONDS)
            self._changed.set()  # the gate will see it too, and change its mind
            return
        haproxy = self._haproxy or await self._begin()
        commands = []
        for backend, place in places:
            if place is None:
                logger.warning("nothing listens for %s behind the gate: users get 503 for it", backend)
                commands.append(f"set server {backend}/model state maint")
            else:
                commands.append(f"set server {backend}/model addr {place[0]} port {place[1]}")
                commands.append(f"set server {backend}/model state ready")
            commands.append(f"set server {backend}/later state maint")
        if not self._warm:
            return
        await haproxy.command("; ".join([*commands, "set server is/warm state ready"]))
        self._open = True
        logger.info("users are let in on port %d", self.address.port)

    async def _hold(self) -> None:
        """Let requests wait, and answer what asks for readiness with 503."""
        if self._haproxy is None:
            return
        servers = {"later": "ready", "model": "maint"}
        hold = [f"set server {b}/{name} state {state}" for b in ("http", "grpc") for name, state in servers.items()]
        await self._haproxy.command("; ".join([*hold, "set server is/warm state maint"]))
        if self._open:
            self._open = False
            logger.info("users' requests wait until the server is warm again")
            await self._give_up_on_the_second()

    async def _give_up_on_the_second(self) -> None:
        """End the requests that were under way when the server went away, and were so the time before.

        A request that was sent and not answered is sent once more; it may have been what the server fell over.
        """
        assert self._haproxy is not None
        streams = {found["number"]: found for found in _STREAM.finditer(await self._haproxy.command("show sess all"))}
        for number in self._sent_anew & streams.keys():
            found = streams[number]
            logger.warning("a request of %s was under way twice when the server went away: given up", found["source"])
            await self._haproxy.command(f"shutdown session {found['address']}")
        self._sent_anew = set(streams)

    async def _begin(self) -> HAProxy:
        host, port = self._nobody.address
        sets, http = self.plan.sets, self.plan.http_url is not None

        def write(port_fd: int, commands_fd: int) -> str:
            return proxy_config.config(sets, f"{host}:{port}", self._pages, port_fd, commands_fd, http=http)

        started = asyncio.get_running_loop().time()
        haproxy = self._haproxy = await HAProxy.start(self._program, self._bound, write)
        asyncio.ensure_future(haproxy.process.wait()).add_done_callback(lambda _: self._noticed(haproxy, started))
        return haproxy

    def _noticed(self, haproxy: HAProxy, started: float) -> None:
        """HAProxy has ended: nobody asked it to, unless the gate is stopping."""
        if self._stopping or self._haproxy is not haproxy:
            return
        if asyncio.get_running_loop().time() - started > SHORT_LIFE:
            self._ends = 0
        self._changed.set()

    async def _ended(self, error: Exception) -> None:
        """Start it anew; connections wait at the port, which stays open in this process."""
        if self._haproxy is not None:
            await self._haproxy.kill()
        self._haproxy, self._open = None, False
        self._ends += 1
        if self._ends >= MOST_ENDS:
            raise WarmupFailedError(f"HAProxy ended {self._ends} times in a row: {error}")
        logger.error("HAProxy is started anew: %s", error)
        await asyncio.sleep(LOOK_SECONDS * 2**self._ends)
        self._changed.set()

    async def stop(self) -> None:
        """Take nothing new, and return when the last request that is under way is answered."""
        self._stopping = True
        self._bound.close()
        haproxy = self._haproxy
        if haproxy is None:
            return
        with suppress(OSError, EOFError, asyncio.IncompleteReadError):
            reader, writer = await haproxy.connection()  # it takes no other one from now on
            writer.write(b"prompt\n")
            await reader.readuntil(b"\n> ")
            haproxy.stop_taking()
            while True:
                if not self._warm:  # what waits would wait for a server that is stopping too
                    writer.write(b"shutdown sessions server http/later; shutdown sessions server grpc/later\n")
                    await reader.readuntil(b"\n> ")
                writer.write(b"show sess all\n")
                if not _STREAM.search((await reader.readuntil(b"\n> ")).decode()):
                    break
                await asyncio.sleep(LOOK_SECONDS)

    async def end(self) -> None:
        """Leave nothing behind."""
        self._stopping = True
        self._bound.close()
        if self._haproxy is not None:
            await self._haproxy.kill()


class _Nobody:
    """A port of this machine that neither takes a connection nor refuses it: its queue is full, and stays so."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.address: tuple[str, int] = self._listening.getsockname()
        self._queued = [self._connecting() for _ in range(2)]

    def _connecting(self) -> socket.socket:
        queued = socket.socket()
        queued.setblocking(False)
        queued.connect_ex(self.address)
        return queued


def _bound(host: str | None, port: int) -> socket.socket:
    both = host is None and socket.has_dualstack_ipv6()
    try:
        family = socket.AF_INET6 if both else socket.getaddrinfo(host or "0.0.0.0", port)[0][0]  # noqa: S104
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if both:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind(("::" if both else host or "0.0.0.0", port))  # noqa: S104  (users come in)
    except OSError as error:
        raise WarmupError(f"cannot take port {port} for users: {reason(error)}; choose another --proxy") from None
    return bound


async def _reached(address: Address) -> tuple[str, int] | None:
    """Return the IP address and the port of who listens there; None: nobody."""
    try:
        _, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return None
    peer = writer.get_extra_info("peername")
    writer.close()
    return peer[0], peer[1]
