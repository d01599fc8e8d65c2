"""A server that only lists its models is not ready before it has answered a request.

Front ends and proxies of language models answer their list of models long before an engine is behind them. Until then
they say 404, 500 or nothing to good requests, which is no fault of these and none of an engine that is still loading.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from kserve_warmup.replay import RequestFailedError, RequestNotYetError, RequestRefusedError, Transport
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.strata import by_stratum

SENDING = "sending samples until the latency is steady"
WAITING = "the server lists its models, and has answered no request yet"

PAUSE_SECONDS = 1.0

Told = Callable[[str], None]


async def first_answer(
    samples: Sequence[Sample], transport: Transport, tell: Told, on_call: Callable[[Sample], None], deadline: float
) -> None:
    """Send one request after the other until one is answered, all strata have refused theirs, or time is up.

    A stratum that refuses its request for good may have refused it before an engine was there: another one's comes
    next. What they all refuse is for the warm-up to tell.

    Args:
        samples: The most frequent first.
        transport: How to send.
        tell: Told in one line what came instead of an answer.
        on_call: Called with the sample before each request.
        deadline: When to go on all the same, on the clock of ``time.monotonic()``.
    """
    left = _one_a_stratum(samples)
    sample = next(left, None)
    while sample is not None and time.monotonic() < deadline:
        on_call(sample)
        try:
            await transport.send(sample)
        except RequestFailedError as error:
            if isinstance(error, RequestRefusedError) and not isinstance(error, RequestNotYetError):
                sample = next(left, None)
                continue
            tell(str(error))
            await asyncio.sleep(PAUSE_SECONDS)
        else:
            return


def _one_a_stratum(samples: Sequence[Sample]) -> Iterator[Sample]:
    return iter([group[0] for group in by_stratum(samples).values()])
