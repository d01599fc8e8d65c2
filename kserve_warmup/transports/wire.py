"""Send samples over the wire that each was recorded on: HTTP or gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.token_latency import TokenLatency
from kserve_warmup.transports.model_kind import PLAIN, ModelKind
from kserve_warmup.transports.rest import RestTransport

if TYPE_CHECKING:
    from kserve_warmup.transports.grpc import GrpcTransport
    from kserve_warmup.transports.stream import StreamTransport


class WireTransport:
    """Calls ``model`` on a server that speaks one protocol or both.

    Of ``http_url`` and ``grpc_address`` those are needed that ``samples`` need. ``timeout`` is the seconds after which
    a request counts as never answered; ``headers`` go with each one; ``path`` is where those over HTTP are sent, None:
    to their endpoints. ``kind`` says how the model wants to be asked. ``samples`` are what to send: of a model with
    sequences their steps, each of which brings its whole sequence along. ``failed`` has the ids of those that did.
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
        path: str | None = None,
        kind: ModelKind = PLAIN,
    ) -> None:
        self._kind, self.samples, self._sequences = kind, tuple(samples), None
        if kind.sequence:
            from kserve_warmup.transports.sequences import Sequences  # which reads bodies, and needs numpy for that

            self._sequences = Sequences(self.samples)
            self.samples = self._sequences.samples
        ways = {self._way(sample) for sample in self.samples}
        self._rest = RestTransport(str(http_url), model, timeout, headers, path) if "rest" in ways else None
        self._grpc: GrpcTransport | StreamTransport | None = None
        if "grpc" in ways:  # importing it takes ten megabytes, which a gate without such samples need not spend
            from kserve_warmup.transports.grpc import GrpcTransport

            self._grpc = GrpcTransport(str(grpc_address), model, timeout, headers)
        if "stream" in ways:  # and then there is no other way over gRPC
            from kserve_warmup.transports.stream import StreamTransport

            self._grpc = StreamTransport(str(grpc_address), model, timeout, headers)
        self.failed = set[str]()
        self.name = ", ".join(t.name for t in (self._rest, self._grpc) if t)

    def _way(self, sample: Sample) -> str:
        return "stream" if self._kind.streams(sample) else "grpc" if sample.protocol == "grpc" else "rest"

    @property
    def usable(self) -> list[Sample]:
        """Return the samples that have not failed; of those that bring the same sequence along, one."""
        found = self._sequences.apart if self._sequences else self.samples
        return [sample for sample in found if sample.id not in self.failed]

    @property
    def longest(self) -> int:
        """Return the requests of the longest sequence that a sample brings along; 1 where there is none."""
        return max(map(len, self._sequences.distinct), default=1) if self._sequences else 1

    async def open(self, timeout: float) -> None:
        """Give a gRPC port that opens later than HTTP's ``timeout`` seconds; without it the requests will tell."""
        if self._grpc:
            with suppress(asyncio.TimeoutError, TimeoutError, RequestFailedError):
                await asyncio.wait_for(self._grpc.ready(), timeout)

    async def send(self, sample: Sample) -> float:
        """Send ``sample`` and return its latency in seconds; of a step that of the step, not of the whole sequence.

        Raises:
            RequestFailedError: the answer is not a success.
        """
        try:
            steps = self._sequences.of(sample) if self._sequences else ()
            if steps:
                from kserve_warmup.transports.sequences import send_sequence

                return TokenLatency(await send_sequence(steps, sample, self._kind, self._send))
            return await self._send(sample)
        except RequestFailedError as error:
            self.failed.add(sample.id)
            raise self._kind.explained(error) from error

    async def _send(self, sample: Sample) -> float:
        transport = self._rest if self._way(sample) == "rest" else self._grpc
        assert transport is not None, "it was made for these samples"
        return await transport.send(sample)

    async def close(self) -> None:
        """Close what is open."""
        if self._grpc:
            await self._grpc.close()
