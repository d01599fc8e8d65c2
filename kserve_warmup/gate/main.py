"""The gate as a process: what it was given, its port, its log, and SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.gate import pages
from kserve_warmup.gate.gate import Gate
from kserve_warmup.gate.server import HttpServer
from kserve_warmup.printable import PrintableFilter
from kserve_warmup.protocols.codec import over_grpc
from kserve_warmup.samples.sets import open_sets
from kserve_warmup.serving.signals import ends_at_once
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.transports.endpoints import ready_path
from kserve_warmup.transports.http import Address, addresses, reason


@dataclass(frozen=True, slots=True)
class Options:
    """What to guard, with which samples, and where to answer; ``settings`` override the environment's."""

    url: str
    samples: Path
    model: str | None = None
    grpc: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def main(options: Options) -> None:
    """Run the gate until SIGTERM or SIGINT.

    Raises:
        WarmupError: the URL, the samples or a setting cannot be used, or the port is taken.
    """
    with ends_at_once():  # nothing but SIGKILL would reach a container's first process otherwise
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
        for handler in logging.getLogger().handlers:
            handler.addFilter(PrintableFilter())  # asyncio's and gRPC's words too
        gate = build(options)
    with suppress(asyncio.CancelledError):
        asyncio.run(_run(gate, options))


def build(options: Options) -> Gate:
    """Return the gate that was asked for; nothing is sent yet.

    Raises:
        WarmupError: the URL, the samples or a setting cannot be used.
    """
    settings = WarmupSettings(**options.settings)
    settings.headers.read()  # a file that is missing shows at once
    sets = open_sets(options.samples, options.model)
    http_url, grpc_address = addresses(options.url, options.grpc)
    if http_url is None:
        from kserve_warmup.gate.grpc_server import GrpcServer

        if mixed := [s.model for s in sets if not all(map(over_grpc, s))]:
            raise WarmupError(f"{mixed[0]} has REST samples: give the server's http:// address, and --grpc for gRPC")

        return Gate(GrpcServer(str(grpc_address), sets, settings.headers), sets, settings, None, grpc_address)
    for samples in sets:
        ready_path(samples, samples.model)
    return Gate(HttpServer(Address.parse(http_url), sets, settings.headers), sets, settings, http_url, grpc_address)


async def _run(gate: Gate, options: Options) -> None:
    task = asyncio.current_task()
    assert task is not None
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    try:
        server = await pages.serve(options.host, options.port, lambda: gate.state)
    except OSError as error:
        where = f"{options.host}:{options.port}"
        raise WarmupError(f"cannot listen on {where}: {reason(error)}; choose another --port") from None
    host, port = server.sockets[0].getsockname()[:2]
    logging.getLogger("kserve_warmup.gate").info("guarding %s, ready on http://%s:%d/ready", options.url, host, port)
    async with server:
        await gate.run()
