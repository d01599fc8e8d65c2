"""The gate as a process: its plan, its port, its log, and SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from typing import Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.gate import pages
from kserve_warmup.gate.gate import Gate
from kserve_warmup.gate.plan import ENDING, Plan
from kserve_warmup.gate.server import HttpServer, Server
from kserve_warmup.printable import PrintableFilter
from kserve_warmup.transports.http import Address, reason


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
    with suppress(asyncio.CancelledError):
        asyncio.run(_run(build(plan), plan))


def build(plan: Plan) -> Gate:
    """Return the gate that was asked for; nothing is sent yet."""
    sets, settings = plan.sets, plan.settings
    if plan.http_url is not None:
        server: Server[Any] = HttpServer(Address.parse(plan.http_url), sets, settings.headers)
    else:
        from kserve_warmup.gate.grpc_server import GrpcServer

        server = GrpcServer(plan.grpc_address, sets, settings.headers)
    return Gate(server, sets, settings, plan.http_url, plan.grpc_address)


async def _run(gate: Gate, plan: Plan) -> None:
    task = asyncio.current_task()
    assert task is not None
    for name in ENDING:
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    try:
        server = await pages.serve(plan.host, plan.port, lambda: gate.state)
    except OSError as error:
        where = f"port {plan.port}" if plan.host is None else f"{plan.host} port {plan.port}"
        raise WarmupError(f"cannot listen on {where}: {reason(error)}; choose another --port") from None
    address = Address(*server.sockets[0].getsockname()[:2])
    logging.getLogger("kserve_warmup.gate").info("guarding %s, ready on http://%s/ready", plan.url, address)
    async with server:
        await gate.run()
