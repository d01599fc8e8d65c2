"""Send samples over the wire that each was recorded on: HTTP or gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType

from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.rest import RestTransport


class WireTransport:
    """Calls ``model`` on a server that speaks one protocol or both.

    Args:
        samples: what will be sent: only what they need is opened.
        http_url: where HTTP is spoken, such as ``http://localhost:8000``; None if no sample needs it.
        grpc_address: where gRPC is spoken, ``host:port``; None if no sample needs it.
        model: the model's name on the server.
        timeout: seconds after which a request counts as never answered.
        headers: what each request carries beside the sample's own headers.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        http_url: str | None,
        grpc_address: str | None,
        model: str,
        *,
        timeout: float,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        protocols = {s.protocol for s in samples}
        self._rest = self._grpc = None
        if protocols - {"grpc"}:
            assert http_url is not None, "REST samples need an HTTP address"
            self._rest = RestTransport(http_url, model, timeout, headers)
        if "grpc" in protocols:
            assert grpc_address is not None, "gRPC samples need a gRPC address"
            # imported where it is used: it takes ten megabytes, which a sidecar without gRPC samples need not spend
            from kserve_warmup.transports.grpc import GrpcTransport

            self._grpc = GrpcTransport(grpc_address, model, timeout, headers)
        self.name = ", ".join(t.name for t in (self._rest, self._grpc) if t)

    async def open(self, timeout: float) -> None:
        """Give a gRPC port that opens later than HTTP's ``timeout`` seconds; without it the requests will tell."""
        if self._grpc:
            with suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(self._grpc.ready(), timeout)

    async def send(self, sample: Sample) -> float:
        """Send ``sample`` and return the seconds that it took.

        Raises:
            RequestFailedError: the answer is not a success.
        """
        transport = self._grpc if sample.protocol == "grpc" else self._rest
        assert transport is not None, "an address for each protocol was asked for"
        return await transport.send(sample)

    async def close(self) -> None:
        """Close what is open."""
        if self._grpc:
            await self._grpc.close()
