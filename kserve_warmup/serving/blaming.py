"""Who is to blame for a request that failed on its way to this process's own server: what the model raised tells."""

from __future__ import annotations

from kserve_warmup.replay import RequestFailedError, Transport, describe
from kserve_warmup.samples import Sample
from kserve_warmup.serving.context import Attempt
from kserve_warmup.serving.faults import failure


class Blaming:
    """Sends over a wire to this process's own server, and tells failures by what the model raised, not by a status."""

    def __init__(self, inner: Transport, noted: Attempt) -> None:
        """Send with ``inner``; what the model raises is put into ``noted``."""
        self._inner, self._noted = inner, noted
        self.name = inner.name

    async def send(self, sample: Sample) -> float:
        """Send one request and return how long it took, in seconds."""
        self._noted.error = None
        try:
            return await self._inner.send(sample)
        except RequestFailedError as error:
            if self._noted.error is None:
                raise
            said = failure(self._noted.error)
            raise type(said)(f"{error} ({describe(self._noted.error)})") from self._noted.error
