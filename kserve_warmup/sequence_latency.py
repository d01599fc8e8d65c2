"""How long the steps of a sequence take, from outside."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.latency import PACE_SECONDS, Target, sending
from kserve_warmup.token_latency import in_ms
from kserve_warmup.transports.sequences import Steps, as_requests, failed_at


def sequence_ms(steps: Steps, targets: Sequence[Target], pace: float = PACE_SECONDS) -> list[float]:
    """Wait ``pace`` seconds, send a whole sequence and return how long each of its steps took in milliseconds.

    Args:
        steps: its steps in their order; they get an id that no sequence has had.
        targets: where each of them goes.
        pace: seconds to wait before the first; the others follow at once, since a server holds a place for them.

    Raises:
        WarmupFailedError: a step failed; the sequence is closed all the same.
    """
    requests = as_requests(steps, targets[0].kind)
    sends = [sending(request, target) for request, target in zip(requests, targets, strict=True)]
    taken: list[float] = []
    time.sleep(pace)
    try:
        for send in sends:
            taken.append(in_ms(send().seconds))  # noqa: PERF401  (what is in it when one fails, counts)
    except WarmupFailedError as error:
        raise failed_at(len(taken), len(steps), error) from error
    finally:
        if len(taken) < len(sends):
            with contextlib.suppress(WarmupError):
                sends[-1]()
    return taken
