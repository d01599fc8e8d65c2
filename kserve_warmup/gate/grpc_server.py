"""A server behind the gate that speaks nothing but gRPC."""

from __future__ import annotations

import asyncio

from kserve_warmup.gate.server import HEALTH_TIMEOUT, Server, ServerGoneError, read_headers
from kserve_warmup.replay import RequestFailedError
from kserve_warmup.transports.endpoints import GRPC_READY, READY_PATHS, grpc_name
from kserve_warmup.transports.grpc import GrpcClient


class GrpcServer(Server):
    """A server of gRPC alone; it tells nothing by which its starts could be told apart."""

    async def check_ready(self) -> None:
        """Ask each model's own readiness."""
        for samples in self.sets:
            headers = read_headers(self.headers)
            if self._connection is None:
                self._connection = GrpcClient(self.address, headers)
                self.connections += 1
            self._connection.carry(headers)
            try:
                answer = await self._connection.ask(READY_PATHS["grpc"], grpc_name(samples.model), HEALTH_TIMEOUT)
            except RequestFailedError as error:
                self.drop()
                raise ServerGoneError(f"{samples.model} is not ready", f"{self.address}: {error}") from error
            if answer != GRPC_READY:
                raise ServerGoneError(f"{samples.model} is not ready", f"{self.address} says so")

    def drop(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._closing = asyncio.ensure_future(self._connection.close())
            self._connection = None
