"""Tasks that are cancelled until they have ended.

Before Python 3.12 ``asyncio.wait_for`` swallows a cancellation that meets what it has waited for: a server that is
stopped at the same moment as its gate, as in every pod, or that closes its idle connection when a pause is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

AGAIN_SECONDS = 0.1


def cancel(task: asyncio.Future[Any]) -> None:
    """Cancel a task until it has ended."""
    if not task.done():
        task.cancel()
        asyncio.get_running_loop().call_later(AGAIN_SECONDS, cancel, task)


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and wait for their end, whatever that is."""
    for task in tasks:
        cancel(task)
    await asyncio.gather(*tasks, return_exceptions=True)


async def for_seconds(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` for as long as that; what it raises is raised.

    Raises:
        TimeoutError: it was still running.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            raise TimeoutError
        task.result()
    finally:
        await ended(task)
