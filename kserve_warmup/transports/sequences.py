"""Whole sequences of Triton's sequence batcher, so that a step from the middle of one can be sent.

A server refuses a step whose sequence it does not know, and holds a place for one that is not closed: the next user
would wait for it. So every sequence is opened, gone through and closed by the same hand, on its own id, whatever
happens in between. The steps are recorded ones where there are any: of the same sequence, else of others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from kserve_warmup.errors import WarmupError
from kserve_warmup.protocols.steps import as_step, correlation_id
from kserve_warmup.protocols.variant import SEQUENCE_END, SEQUENCE_START
from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.model_kind import E, ModelKind, takes_tensors

Steps = tuple[Sample, ...]
"""The steps of a sequence in their order; what each says of its part in it (its variant) is true."""

CLOSE_SECONDS = 5.0
"""For closing a sequence that failed; a server that does not take it closes it itself, by default after a second."""

_MOST_MIDDLE = 8
_MIDDLE = 2
"""Steps in the middle that a sequence has whose own ones were not recorded."""


def opens(sample: Sample) -> bool:
    """Return whether a request opens a sequence."""
    return (SEQUENCE_START, "true") in sample.variant


def closes(sample: Sample) -> bool:
    """Return whether a request closes a sequence."""
    return (SEQUENCE_END, "true") in sample.variant


class Sequences:
    """The sequences that bring each of ``samples`` to its place.

    ``samples`` are the given ones, and the steps that had to be made of them, which stand for none of the traffic:
    where only the middle was recorded, the same requests open and close their sequences.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        """Plan the sequences.

        Raises:
            SampleError: a body is no request.
        """
        given = tuple(samples)
        self._others = tuple(sample for sample in given if not takes_tensors(sample))
        recorded = _Recorded([sample for sample in given if takes_tensors(sample)])
        self._of = {_key(sample): recorded.sequence_of(sample) for sample in recorded.samples}
        made = [step for steps in self._of.values() for step in steps if _key(step) not in self._of]
        for step in made:
            self._of.setdefault(_key(step), next(s for s in self._of.values() if step in s))
        self.samples = (*self._others, *dict.fromkeys(made), *recorded.samples)

    def of(self, sample: Sample) -> Steps:
        """Return the sequence that has ``sample`` in it; nothing for a request that is no step."""
        return self._of.get(_key(sample), ())

    @property
    def distinct(self) -> tuple[Steps, ...]:
        """Return all sequences, each one once."""
        return tuple(dict.fromkeys(self._of.values()))

    @property
    def apart(self) -> tuple[Sample, ...]:
        """Return samples that bring each sequence once, where any step of it would bring the same."""
        return (*self._others, *dict.fromkeys(steps[len(steps) // 2] for steps in self.distinct))


def _key(sample: Sample) -> tuple[str, bool, bool]:
    return sample.id, opens(sample), closes(sample)


def _part(sample: Sample, *, start: bool, end: bool) -> Sample:
    """Return a sample as another part of a sequence; it stands for none of the traffic then."""
    if (opens(sample), closes(sample)) == (start, end):
        return sample
    others = [fact for fact in sample.variant if fact[0] not in (SEQUENCE_START, SEQUENCE_END)]
    flags = [(name, "true") for name, true in ((SEQUENCE_START, start), (SEQUENCE_END, end)) if true]
    return sample.but(variant=tuple(sorted([*others, *flags])), weight=0.0)


class _Recorded:
    """Recorded steps, the heaviest first, by their part in a sequence."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples
        self._ids = {_key(sample): correlation_id(sample) for sample in samples}
        self._opening = [s for s in samples if opens(s) and not closes(s)]
        self._closing = [s for s in samples if closes(s) and not opens(s)]
        self._middle = [s for s in samples if not (opens(s) or closes(s))]

    def sequence_of(self, one: Sample) -> Steps:
        """Return a sequence with ``one`` in it."""
        if opens(one) and closes(one):
            return (one,)
        start = one if opens(one) else self._like(one, self._opening)
        end = one if closes(one) else self._like(one, self._closing)
        return (_part(start, start=True, end=False), *self._between(one), _part(end, start=False, end=True))

    def _between(self, one: Sample) -> list[Sample]:
        """Return the steps of the middle: those of the same sequence that are known, else the one at hand again."""
        known = [s for s in self._middle if self._same(s, one)][:_MOST_MIDDLE]
        if opens(one) or closes(one):
            return known or self._middle[:1]
        return known if len(known) > 1 and one in known else [one] * _MIDDLE

    def _like(self, one: Sample, choice: list[Sample]) -> Sample:
        """Return who can take another part in the sequence of ``one``: of the same sequence, of its shape, or any."""
        found = choice or ([one] if one in self._middle else self._middle) or [one]
        same = [s for s in found if self._same(s, one)]
        alike = [s for s in found if (s.signature, s.batch) == (one.signature, one.batch)]
        return (same or alike or found)[0]

    def _same(self, one: Sample, other: Sample) -> bool:
        """Return whether two steps were recorded in the same sequence."""
        name = self._ids[_key(one)]
        return name is not None and name == self._ids[_key(other)]


async def send_sequence(
    steps: Steps, wanted: Sample, kind: ModelKind, send: Callable[[Sample], Awaitable[float]]
) -> float:
    """Send a whole sequence on an id of its own, and return the latency of its step ``wanted`` in seconds.

    Raises:
        RequestFailedError: a step is not answered as it should be; the sequence is closed all the same.
    """
    taken, requests = [], as_requests(steps, kind)
    try:
        for request in requests:
            taken.append(await send(request))  # noqa: PERF401  (what is in it when one fails, counts)
    except RequestFailedError as error:
        raise failed_at(len(taken), len(steps), error) from error
    finally:
        if len(taken) < len(requests):
            closing = asyncio.ensure_future(_quietly(send(requests[-1])))
            with suppress(asyncio.TimeoutError, TimeoutError):
                await asyncio.wait_for(asyncio.shield(closing), CLOSE_SECONDS)
    return taken[steps.index(wanted)]


async def _quietly(closing: Awaitable[float]) -> None:
    with suppress(WarmupError):  # what it answers is nobody's business: the step before has failed
        await closing


def as_requests(steps: Steps, kind: ModelKind) -> list[Sample]:
    """Return the requests of a sequence that has never been before."""
    name, last = kind.fresh_id(), len(steps) - 1
    return [as_step(step, name, start=not number, end=number == last) for number, step in enumerate(steps)]


def failed_at(number: int, count: int, error: E) -> E:
    """Return an error that says at which step of how many a sequence broke."""
    part = "START" if not number else "END" if number == count - 1 else "in the middle"
    return type(error)(f"step {number + 1} of {count} of its sequence ({part}): {error}")
