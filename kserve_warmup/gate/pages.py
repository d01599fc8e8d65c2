"""The gate's own HTTP port: ``/ready`` for the probe, ``/metrics`` for Prometheus, ``/report`` for people and tools.

With ``--traffic`` it takes on ``/traffic`` what KServe's inference logger sends, and answers it with nothing.

Anybody may reach it: it says nothing that a server or a request said, and however many clients hold it, there is room
for a probe.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import h11
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from kserve_warmup.gate.gate_state import State, unquoted

logger = logging.getLogger("kserve_warmup.gate")

READY = Gauge("kserve_warmup_gate_ready", "1 while the gate answers 200 on /ready.")
WARMUPS = Gauge("kserve_warmup_gate_warmups", "Warm-ups begun: more than one after the server has restarted.")

REQUEST_SECONDS = 10.0
"""A client that takes longer to ask is cut off."""

MOST_CLIENTS = 64
"""Connections at once; one more, and the oldest is cut off: a probe asks at once, who waits is none."""

QUIET_SECONDS = 60.0
"""Between two lines of the log about the same want of file descriptors."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_JSON = "application/json"
_CHUNK = 1 << 16

TRAFFIC_BYTES = 16 << 20
"""Of one message at ``/traffic``; of all that are read at once, too."""

Page = tuple[int, str, bytes]
"""Status, content type and body."""

Show = Callable[[Mapping[str, str], bytes], None]
"""Takes a message's headers, their names in lower case, and its body; it returns at once."""


def page(path: str, state: State) -> Page:
    """Return what stands at ``path``; ``/report`` is a list unless there is exactly one model's."""
    if path == "/ready":
        return (200 if state.ready else 503), _JSON, _json(state.to_dict())
    if path == "/report":
        reports = [unquoted(report).to_dict() for report in state.reports]
        return 200, _JSON, _json(reports[0] if len(reports) == 1 else reports)
    if path == "/metrics":
        READY.set(state.ready)
        WARMUPS.set(state.warmups)
        return 200, CONTENT_TYPE_LATEST, generate_latest()
    return 404, _JSON, _json({"error": "there are /ready, /metrics and /report"})


async def serve(host: str | None, port: int, state: Callable[[], State], show: Show | None = None) -> asyncio.Server:
    """Open the port and answer from then on; ``state`` is asked for each request, ``show`` told of traffic.

    Without a ``host``, or with ``::``, it is open on all addresses: of IPv6 too, since a pod may have no other.

    Raises:
        OSError: the port cannot be opened.
    """
    clients: dict[asyncio.StreamWriter, None] = {}
    traffic = _Traffic(show) if show else None

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients[writer] = None
        if len(clients) > MOST_CLIENTS:
            oldest = next(iter(clients))
            del clients[oldest]
            oldest.transport.abort()
        # a client may leave, stall or speak nonsense: that is its own affair
        with suppress(OSError, h11.RemoteProtocolError, asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(_answer(reader, writer, state, traffic), REQUEST_SECONDS)
        clients.pop(writer, None)
        writer.close()

    asyncio.get_running_loop().set_exception_handler(_Complaints())
    if host in (None, "::") and socket.has_dualstack_ipv6():
        both = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return await asyncio.start_server(handle, sock=both)
    return await asyncio.start_server(handle, host or "0.0.0.0", port)  # noqa: S104  (probes come in)


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: Callable[[], State], traffic: _Traffic | None
) -> None:
    connection = h11.Connection(h11.SERVER)
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(_CHUNK))
    if not isinstance(event, h11.Request):
        return
    path = event.target.decode("ascii", "replace").partition("?")[0]
    if traffic is not None and path == "/traffic" and event.method == b"POST":
        if connection.they_are_waiting_for_100_continue:
            writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        status, kind, body = await traffic.take(event, connection, reader)
    else:
        status, kind, body = page(path, state())
    headers = [("content-type", kind), ("content-length", str(len(body))), ("connection", "close")]
    sent = connection.send(h11.Response(status_code=status, headers=headers))
    content = b"" if event.method == b"HEAD" else connection.send(h11.Data(body)) or b""
    writer.write((sent or b"") + content)
    await writer.drain()


class _Traffic:
    """Reads messages of traffic, no more at once than there is room for."""

    def __init__(self, show: Show) -> None:
        self._show, self._held = show, 0

    async def take(self, request: h11.Request, connection: h11.Connection, reader: asyncio.StreamReader) -> Page:
        body = bytearray()
        try:
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    connection.receive_data(await reader.read(_CHUNK))
                elif isinstance(event, h11.Data):
                    if self._held + len(event.data) > TRAFFIC_BYTES:
                        return 413, _JSON, _json({"error": f"no room: {TRAFFIC_BYTES} bytes are taken at once"})
                    self._held += len(event.data)
                    body += event.data
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
            self._show(headers, bytes(body))
        finally:
            self._held -= len(body)
        return 202, _JSON, b""


class _Complaints:
    """Says now and then that no file descriptor is left; asyncio says so a hundred times a second, with a traceback."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, ValueError) and "Invalid file descriptor" in str(error):
            return  # asyncio would listen again on a port that was closed meanwhile
        if not (isinstance(error, OSError) and error.errno in _EXHAUSTED):
            loop.default_exception_handler(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + QUIET_SECONDS
            logger.warning("cannot answer all who ask: %s; raise the process's limits", os.strerror(error.errno or 0))


def _json(document: object) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"
