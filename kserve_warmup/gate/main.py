"""The gate as a process: its port, its log, SIGTERM, and how it begins.

What checks options, settings and sample sets takes a third as much memory as the gate itself, and is needed once. So
the process that has checked them becomes another program, with the same process id, that has loaded none of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.gate import pages
from kserve_warmup.gate.cancelling import cancel
from kserve_warmup.gate.gate_plan import Plan
from kserve_warmup.gate.guard import Gate
from kserve_warmup.gate.guarded import GrpcServer, HttpServer, Server
from kserve_warmup.printable import PrintableFilter
from kserve_warmup.tls_options import with_tls
from kserve_warmup.transports.http import Address, reason

if TYPE_CHECKING:
    from kserve_warmup.gate.proxy import Proxy

ENDING = (signal.SIGTERM, signal.SIGINT)
"""What ends a gate; held back while it becomes another program, which would lose them."""


def become(plan: Plan) -> None:
    """Run the gate of ``plan`` in a process of the same id that has loaded nothing but what that takes.

    Raises:
        WarmupError: the port is taken.
    """
    if not hasattr(os, "memfd_create"):  # not Linux
        return main(plan)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    file = os.memfd_create("kserve-warmup-gate", 0)  # no flag: it stays open; what headers hold is on no disk
    with open(file, "wb", closefd=False) as stream:
        plan.write(stream)
    os.lseek(file, 0, os.SEEK_SET)
    code = f"import sys; sys.path[:] = {sys.path!r}; from kserve_warmup.gate.main import go_on; go_on({file})"
    os.execv(sys.executable, [sys.executable, "-c", code])  # noqa: S606  (this very interpreter)
    return None


def go_on(file: int) -> None:
    """Run the gate of the plan in an open file, until SIGTERM or SIGINT; an error is one line."""
    with open(file, "rb") as stream:
        plan = Plan.read(stream)
    try:
        main(plan)
    except WarmupError as error:
        sys.stderr.write(f"kserve-warmup: {error}\n")
        sys.exit(error.exit_code)


def main(plan: Plan) -> None:
    """Run the gate until SIGTERM or SIGINT.

    Raises:
        WarmupError: the port is taken.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for handler in logging.getLogger().handlers:
        handler.addFilter(PrintableFilter())  # asyncio's and gRPC's words too
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its library writes of each TLS handshake that fails
    with suppress(asyncio.CancelledError), with_tls(plan.settings.tls):
        asyncio.run(_run(build(plan), plan))


def build(plan: Plan) -> Gate:
    """Return the gate that was asked for; nothing is sent yet."""
    sets, settings = plan.sets, plan.settings
    server: Server = (
        GrpcServer(plan.grpc_address, sets, settings.headers)
        if plan.http_url is None
        else HttpServer(Address.parse(plan.http_url), sets, settings.headers, plan.paths)
    )
    return Gate(server, sets, settings, plan.http_url, plan.grpc_address, plan.paths, plan.concurrency)


async def _run(gate: Gate, plan: Plan) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for name in ENDING:
        loop.add_signal_handler(name, cancel, task)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    proxy = proxy_of(plan)
    try:
        server = await pages.serve(
            plan.host, plan.port, lambda: proxy.shown(gate.state) if proxy else gate.state, shown(plan)
        )
    except OSError as error:
        where = f"port {plan.port}" if plan.host is None else f"{plan.host} port {plan.port}"
        raise WarmupError(f"cannot listen on {where}: {reason(error)}; choose another --port") from None
    address = Address(*server.sockets[0].getsockname()[:2])
    logging.getLogger("kserve_warmup.gate").info("guarding %s, ready on http://%s/ready", plan.url, address)
    async with server:
        if proxy is None:
            await gate.run()
        else:
            await _with_users(gate, proxy, server)


async def _with_users(gate: Gate, proxy: Proxy, server: asyncio.Server) -> None:
    """Guard the server and let users in, until a signal; then answer what is under way, until the next one.

    Raises:
        WarmupError: users cannot be let in.
    """
    gate.on_phase = proxy.follow
    signals: asyncio.Queue[int] = asyncio.Queue()
    for name in ENDING:
        asyncio.get_running_loop().remove_signal_handler(name)
        asyncio.get_running_loop().add_signal_handler(name, signals.put_nowait, name)
    host, port = server.sockets[0].getsockname()[:2]
    own = Address({"::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}.get(host, host), port)  # noqa: S104
    works: list[asyncio.Future[Any]] = [asyncio.ensure_future(gate.run()), asyncio.ensure_future(proxy.run(str(own)))]
    asked = asyncio.ensure_future(signals.get())
    try:
        await asyncio.wait([*works, asked], return_when=asyncio.FIRST_COMPLETED)
        if asked.done():
            ends = [asyncio.ensure_future(proxy.stop()), asyncio.ensure_future(signals.get())]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            works += ends
        for work in works:
            if work.done():
                work.result()
    finally:
        await proxy.end()
        works.append(asked)
        for work in works:
            cancel(work)
        await asyncio.wait(works)


def shown(plan: Plan) -> pages.Show | None:
    """Return what looks at traffic that the gate is shown, None unless it is asked for."""
    if not plan.traffic:
        return None
    from kserve_warmup.gate.shown_traffic import ShownTraffic  # of the library's memory a gate needs nothing else

    return ShownTraffic(plan.sets).take


def proxy_of(plan: Plan) -> Proxy | None:
    """Return what lets users in, its port bound; None unless it is asked for."""
    if plan.proxy is None:
        return None
    from kserve_warmup.gate.proxy import Proxy  # its memory is for who asks for it

    return Proxy(plan, plan.proxy)
