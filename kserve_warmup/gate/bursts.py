"""Several requests at once: what a server does only then.

A batcher forms batches of sizes that no single request has, and a compiler meets each of them for the first time.
Further instances, workers and threads of the front end get their first work too. Servers of language models batch token
by token, and most warm that themselves: they get several requests at once where an operator asks for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from kserve_warmup.protocols.codec import codec_of
from kserve_warmup.replay import Limits, Transport, replay
from kserve_warmup.report import Level, WarmupReport
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.strata import by_stratum
from kserve_warmup.token_latency import slowest

SIZES = (2, 4, 8)
"""Requests at once. A batcher takes what has gathered meanwhile, so that the sizes between come about too."""

MOST_ROUNDS = 100
"""Bursts of one size: their latencies depend on chance, and may never be steady."""

SINGLE_SHARE = 0.75
"""Of the budget, for single requests where bursts follow; they have the rest."""

_OUTRUN = 1.5
"""Times as long as several at once: what one request took that was the first of its process."""

logger = logging.getLogger("kserve_warmup.gate")


class BurstTransport:
    """Sends several requests of a sample's stratum at once; the latency is the slowest one's."""

    def __init__(self, transport: Transport, size: int, samples: Iterable[Sample] = ()) -> None:
        """Take what sends a single sample, and the samples that take turns in a burst: a server may know equal ones."""
        self._transport, self._size = transport, size
        self._alike = by_stratum(samples)
        self.name = transport.name

    async def send(self, sample: Sample) -> float:
        """Send ``sample`` and those that follow it, and return the seconds of the slowest answer.

        Raises:
            RequestFailedError: one of the answers is not a success.
        """
        alike = self._alike.get(sample.stratum, [sample])
        first = next(at for at, one in enumerate(alike) if one is sample)
        sending = (self._transport.send(alike[(first + turn) % len(alike)]) for turn in range(self._size))
        answers = await asyncio.gather(*sending, return_exceptions=True)  # none is left under way behind a failure
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return slowest([answer for answer in answers if isinstance(answer, float)])


def for_bursts(samples: Iterable[Sample], *, tokens: bool = False) -> tuple[Sample, ...]:
    """Return the samples of one stratum a signature: of the smallest batch, from which a batcher makes all sizes.

    A signature that several protocols have is one to a batcher.

    Args:
        samples: Those that the server takes.
        tokens: Whether requests count whose servers batch token by token, such as OpenAI's.
    """
    chosen: dict[object, list[Sample]] = {}
    for stratum, group in sorted(by_stratum(samples).items(), key=lambda item: item[0].batch):
        if tokens or not codec_of(stratum.protocol).by_token:
            chosen.setdefault((stratum.verb, stratum.signature, stratum.variant), group)
    return tuple(sample for group in chosen.values() for sample in group)


@dataclass(frozen=True, slots=True)
class Sending:
    """What is sent at once: ``sizes``, one after the other; ``mixed``: whether a burst is of different requests."""

    samples: tuple[Sample, ...]
    sizes: tuple[int, ...]
    mixed: bool


def levels(samples: Iterable[Sample], concurrency: tuple[int, ...] | None) -> Sending:
    """Return what is sent at once after single requests: as an operator says, or, None, as batchers need it."""
    asked = concurrency is not None
    return Sending(for_bursts(samples, tokens=asked), SIZES if concurrency is None else concurrency, asked)


def single_share(samples: Iterable[Sample], concurrency: tuple[int, ...] | None) -> float:
    """Return the part of the budget (0 to 1) that is for single requests."""
    following = levels(samples, concurrency)
    return SINGLE_SHARE if following.samples and following.sizes else 1.0


async def send(
    sending: Sending,
    transport: Transport,
    limits: Limits,
    model: str,
    *,
    end: float,
    longest: int = 1,
    on_call: Callable[[Sample], None],
) -> tuple[Level, ...]:
    """Send several requests, or whole sequences, at once, one size after the other, each until steady or time is up.

    Args:
        sending: What, and how many.
        transport: What sends a single sample.
        limits: Those of the warm-up.
        model: The model's name, for the log.
        end: When time is up, on the clock of ``time.monotonic()``.
        longest: How many requests a sample may take, such as the steps of its sequence.
        on_call: Called before each burst.
    """
    few = replace(limits, max_calls=min(limits.max_calls, max(1, MOST_ROUNDS // longest)))
    found = []
    for size in sending.sizes if sending.samples else ():
        burst = BurstTransport(transport, size, sending.samples if sending.mixed else ())
        done = await replay(sending.samples, burst, few, model, deadline=end, on_call=on_call)
        found.append(Level(size, done.seconds, done.strata))
    if failed := sum(s.failures for level in found for s in level.strata):
        logger.warning("%s: %d of %d bursts failed", model, failed, sum(level.calls for level in found))
    return tuple(found)


def outrun(report: WarmupReport, levels: Iterable[Level]) -> bool:
    """Return whether several requests at once took less than one alone had.

    One alone had then met nothing but processes that were still cold, each as slow as the other, of a server that has
    several: that was no steady state.
    """
    alone = {s.key: s.steady_ms or 0.0 for s in report.strata}
    return any(alone.get(s.key, 0.0) > _OUTRUN * s.steady_ms for level in levels for s in level.strata if s.steady_ms)


def note(levels: Sequence[Level]) -> str | None:
    """Return what was done with several requests at once, in one line."""
    if not levels:
        return None
    sizes = " to ".join(dict.fromkeys(str(find(level.at_once for level in levels)) for find in (min, max)))
    return f"then {sum(level.calls for level in levels)} bursts of {sizes} requests at once"
