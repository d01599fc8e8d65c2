"""A server behind the gate that speaks nothing but gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from kserve_warmup.gate.plan import ModelSamples
from kserve_warmup.gate.server import HEALTH_TIMEOUT, LOOK_SECONDS, Marks, ServerGoneError, read_headers
from kserve_warmup.replay import RequestFailedError
from kserve_warmup.request_headers import NO_HEADERS, RequestHeaders
from kserve_warmup.transports.endpoints import GRPC_READY, READY_PATHS, grpc_name
from kserve_warmup.transports.grpc import GrpcClient


@dataclass
class GrpcServer:
    """The server at ``address`` (``host:port``), seen over one connection; it does not tell one start from another."""

    address: str
    sets: Sequence[ModelSamples]
    headers: RequestHeaders = NO_HEADERS
    connections: int = 0
    _client: GrpcClient | None = field(default=None, repr=False)

    async def check_ready(self) -> None:
        """Ask each model's own readiness.

        Raises:
            ServerGoneError: one of them is not ready, or there is no server.
        """
        for samples in self.sets:
            client = self._connected()
            try:
                answer = await client.ask(READY_PATHS["grpc"], grpc_name(samples.model), HEALTH_TIMEOUT)
            except RequestFailedError as error:
                self.drop()
                raise ServerGoneError(f"{samples.model} is not ready", f"{self.address}: {error}") from error
            if answer != GRPC_READY:
                raise ServerGoneError(f"{samples.model} is not ready", f"{self.address} says so")

    async def marks(self) -> Marks:
        """Return marks that are equal to no others."""
        return Marks()

    async def counts(self) -> tuple[tuple[int, ...], ...]:
        """Return no counters."""
        return ()

    async def stays(self, seconds: float = LOOK_SECONDS) -> bool:
        """Wait, and return False as soon as the server is no longer connected."""
        if self._client is None:
            await asyncio.sleep(seconds)
            return True
        if await self._client.stays_open(seconds):
            return True
        self.drop()
        return False

    def drop(self) -> None:
        """Give the connection up."""
        if self._client is not None:
            self._closing = asyncio.ensure_future(self._client.close())
            self._client = None

    def _connected(self) -> GrpcClient:
        headers = read_headers(self.headers)
        if self._client is None:
            self._client = GrpcClient(self.address, headers)
            self.connections += 1
        self._client.carry(headers)
        return self._client
