"""How long a request may take before it counts as never answered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from kserve_warmup.replay import NoAnswerError

T = TypeVar("T")


async def answered_within(seconds: float, answer: Coroutine[Any, Any, T]) -> T:
    """Await ``answer``.

    Raises:
        NoAnswerError: it did not come in time.
    """
    try:
        return await asyncio.wait_for(answer, seconds)
    except (asyncio.TimeoutError, TimeoutError):
        raise NoAnswerError(f"no answer within {seconds:.3g} s") from None
