"""Send samples over the wire that each was recorded on: HTTP or gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.rest import RestTransport


class WireTransport:
    """Calls ``model`` on a server that speaks one protocol or both.

    Of ``http_url`` and ``grpc_address`` those are needed that ``samples`` need. ``timeout`` is the seconds after which
    a request counts as never answered; ``headers`` go with each one. ``failed`` has the ids of the samples that did.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        http_url: str | None,
        grpc_address: str | None,
        model: str,
        *,
        timeout: float,
        headers: Mapping[str, str],
    ) -> None:
        protocols = {s.protocol for s in samples}
        self._rest = RestTransport(str(http_url), model, timeout, headers) if protocols - {"grpc"} else None
        self._grpc = None
        if "grpc" in protocols:  # importing it takes ten megabytes, which a gate without such samples need not spend
            from kserve_warmup.transports.grpc import GrpcTransport

            self._grpc = GrpcTransport(str(grpc_address), model, timeout, headers)
        self.failed = set[str]()
        self.name = ", ".join(t.name for t in (self._rest, self._grpc) if t)

    async def open(self, timeout: float) -> None:
        """Give a gRPC port that opens later than HTTP's ``timeout`` seconds; without it the requests will tell."""
        if self._grpc:
            with suppress(asyncio.TimeoutError, TimeoutError, RequestFailedError):
                await asyncio.wait_for(self._grpc.ready(), timeout)

    async def send(self, sample: Sample) -> float:
        """Send ``sample`` and return the seconds that it took.

        Raises:
            RequestFailedError: the answer is not a success.
        """
        transport = self._grpc if sample.protocol == "grpc" else self._rest
        assert transport is not None, "it was made for these samples"
        try:
            return await transport.send(sample)
        except RequestFailedError:
            self.failed.add(sample.id)
            raise

    async def close(self) -> None:
        """Close what is open."""
        if self._grpc:
            await self._grpc.close()
