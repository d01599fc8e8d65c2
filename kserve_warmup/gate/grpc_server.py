"""A server behind the gate that speaks nothing but gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from kserve_warmup.gate.plan import ModelSamples
from kserve_warmup.gate.server import HEALTH_TIMEOUT, LOOK_SECONDS, Marks, ServerGoneError, read_headers
from kserve_warmup.request_headers import NO_HEADERS, RequestHeaders
from kserve_warmup.transports.endpoints import GRPC_READY, READY_PATHS, grpc_name
from kserve_warmup.transports.grpc import channel_options, metadata_of, told


@dataclass
class GrpcServer:
    """The server at ``address`` (``host:port``), seen over one channel; it has no marks that tell its starts apart."""

    address: str
    sets: Sequence[ModelSamples]
    headers: RequestHeaders = NO_HEADERS
    connections: int = 0
    _channel: Any = field(default=None, repr=False)

    async def check_ready(self) -> None:
        """Ask each model's own readiness.

        Raises:
            ServerGoneError: one of them is not ready, or there is no server.
        """
        for samples in self.sets:
            try:
                answer = await self._ask(samples.model)
            except grpc.aio.AioRpcError as error:
                self.drop()
                raise ServerGoneError(f"{samples.model} is not ready", f"{self.address}: {told(error)}") from error
            if answer != GRPC_READY:
                raise ServerGoneError(f"{samples.model} is not ready", f"{self.address} says so")

    async def marks(self) -> Marks:
        """Return marks that are equal to no others."""
        return Marks()

    async def counts(self) -> tuple[tuple[int, ...], ...]:
        """Return no counters."""
        return ()

    async def stays(self, seconds: float = LOOK_SECONDS) -> bool:
        """Wait, and return False as soon as the channel is no longer connected."""
        if self._channel is None:
            await asyncio.sleep(seconds)
            return True
        try:
            await asyncio.wait_for(self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY), seconds)
        except (asyncio.TimeoutError, TimeoutError):
            return True
        self.drop()
        return False

    def drop(self) -> None:
        """Give the channel up."""
        if self._channel is not None:
            self._closing = asyncio.ensure_future(self._channel.close())
            self._channel = None

    async def _ask(self, model: str) -> bytes:
        headers = read_headers(self.headers)
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self.address, options=channel_options(headers))
            self.connections += 1
        ask = self._channel.unary_unary(READY_PATHS["grpc"])
        answer: bytes = await ask(grpc_name(model), timeout=HEALTH_TIMEOUT, metadata=metadata_of(headers))
        return answer
