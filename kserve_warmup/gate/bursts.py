"""Several requests at once: what a server does only then.

A batcher forms batches of sizes that no single request has, and a compiler meets each of them for the first time.
Further instances, workers and threads of the front end get their first work too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from kserve_warmup.protocols.codec import codec_of
from kserve_warmup.replay import Transport
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.strata import by_stratum

SIZES = (2, 4, 8)
"""Requests at once. A batcher takes what has gathered meanwhile, so that the sizes between come about too."""

MOST_ROUNDS = 100
"""Bursts of one size: their latencies depend on chance, and may never be steady."""


class BurstTransport:
    """Sends each sample several times at once; its latency is the slowest one's."""

    def __init__(self, transport: Transport, size: int) -> None:
        """Take what sends a single sample."""
        self._transport, self._size = transport, size
        self.name = transport.name

    async def send(self, sample: Sample) -> float:
        """Send ``sample`` and return the seconds of the slowest answer.

        Raises:
            RequestFailedError: one of the answers is not a success.
        """
        sending = (self._transport.send(sample) for _ in range(self._size))
        answers = await asyncio.gather(*sending, return_exceptions=True)  # none is left under way behind a failure
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return max(answer for answer in answers if isinstance(answer, float))


def for_bursts(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Return the samples of one stratum a signature: of the smallest batch, from which a batcher makes all sizes.

    A signature that several protocols have is one to a batcher. OpenAI requests are left out: their servers batch token
    by token, and warm that themselves.
    """
    chosen: dict[object, list[Sample]] = {}
    for stratum, group in sorted(by_stratum(samples).items(), key=lambda item: item[0].batch):
        if not codec_of(stratum.protocol).by_token:
            chosen.setdefault((stratum.verb, stratum.signature, stratum.variant), group)
    return tuple(sample for group in chosen.values() for sample in group)
