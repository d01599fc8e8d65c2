"""What an answer of a language model took, in what can be compared: answers differ in length, and with it in time.

The two measures of those who serve such models: **time to first token** (TTFT), for which a user waits, and **time per
output token** (TPOT) after that. A streamed answer tells both. A whole one tells its end and, mostly, its number of
tokens: it is compared at one length (the normalised latency of Orca, OSDI 2022, and vLLM, SOSP 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


class TokenLatency(float):
    """Seconds of one request: to the first token of a streamed answer, to the end of a whole one.

    They may be less than the server was busy: a stream goes on, and a sequence is sent for each of its steps.
    ``per_token``: seconds from one token of a streamed answer to the next, None if it is not streamed or has but one.
    ``tokens``: how many a whole answer has; None if it is streamed, or does not tell.
    """

    __slots__ = ("per_token", "tokens")

    per_token: float | None
    tokens: int | None

    def __new__(cls, seconds: float, *, per_token: float | None = None, tokens: int | None = None) -> Self:
        """Take the seconds, and what the answer tells beside them."""
        made = super().__new__(cls, seconds)
        made.per_token, made.tokens = per_token, tokens
        return made


def per_token_of(latency: float) -> float | None:
    """Return the time from one token to the next; None where that was not seen."""
    return latency.per_token if isinstance(latency, TokenLatency) else None


def slowest(latencies: Sequence[float]) -> float:
    """Return what requests at once took: the slowest one's latency, and the usual time per token."""
    last = max(latencies)
    if not isinstance(last, TokenLatency):
        return last
    each = [value for value in map(per_token_of, latencies) if value is not None]
    return TokenLatency(last, per_token=median(each) if each else None, tokens=last.tokens)


def in_ms(latency: float) -> float:
    """Return a latency in milliseconds, of which the time per token is in milliseconds too."""
    if not isinstance(latency, TokenLatency):
        return latency * 1e3
    each = None if latency.per_token is None else latency.per_token * 1e3
    return TokenLatency(latency * 1e3, per_token=each, tokens=latency.tokens)


class SameLength:
    """Brings latencies of whole answers to one length, that of the first: twice as many tokens take twice as long."""

    def __init__(self) -> None:
        """Begin with no answer seen."""
        self._length: int | None = None

    def compared(self, latency: float) -> float:
        """Return what an answer of the first one's length would have taken."""
        tokens = latency.tokens if isinstance(latency, TokenLatency) else None
        if not tokens:
            return float(latency)
        self._length = self._length or tokens
        return float(latency) * self._length / tokens
