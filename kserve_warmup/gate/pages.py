"""The gate's own HTTP port: ``/ready`` for the probe, ``/metrics`` for Prometheus, ``/report`` for people and tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

import h11
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from kserve_warmup.gate.state import State

READY = Gauge("kserve_warmup_gate_ready", "1 while the gate answers 200 on /ready.")
WARMUPS = Gauge("kserve_warmup_gate_warmups", "Warm-ups begun: more than one after the server has restarted.")

REQUEST_SECONDS = 10.0
"""A client that takes longer to ask is cut off."""

_JSON = "application/json"
_CHUNK = 1 << 16

Page = tuple[int, str, bytes]
"""Status, content type and body."""


def page(path: str, state: State) -> Page:
    """Return what stands at ``path``; ``/report`` is a list unless there is exactly one model's."""
    if path == "/ready":
        return (200 if state.ready else 503), _JSON, _json(state.to_dict())
    if path == "/report":
        reports = [report.to_dict() for report in state.reports]
        return 200, _JSON, _json(reports[0] if len(reports) == 1 else reports)
    if path == "/metrics":
        READY.set(state.ready)
        WARMUPS.set(state.warmups)
        return 200, CONTENT_TYPE_LATEST, generate_latest()
    return 404, _JSON, _json({"error": "there are /ready, /metrics and /report"})


async def serve(host: str, port: int, state: Callable[[], State]) -> asyncio.Server:
    """Open the port and answer from then on; ``state`` is asked for each request.

    Raises:
        OSError: the port cannot be opened.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # a client may leave, stall or speak nonsense: that is its own affair
        with suppress(OSError, h11.RemoteProtocolError, asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(_answer(reader, writer, state), REQUEST_SECONDS)
        writer.close()

    return await asyncio.start_server(handle, host, port)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, state: Callable[[], State]) -> None:
    connection = h11.Connection(h11.SERVER)
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await reader.read(_CHUNK))
    if not isinstance(event, h11.Request):
        return
    status, kind, body = page(event.target.decode("ascii", "replace").partition("?")[0], state())
    headers = [("content-type", kind), ("content-length", str(len(body))), ("connection", "close")]
    sent = connection.send(h11.Response(status_code=status, headers=headers))
    content = b"" if event.method == b"HEAD" else connection.send(h11.Data(body)) or b""
    writer.write((sent or b"") + content)
    await writer.drain()


def _json(document: object) -> bytes:
    return json.dumps(document, indent=2).encode() + b"\n"
