"""A warm-up request that blocks the event loop: no timeout on that loop can cut it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def watched(seconds: float, on_stall: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call ``on_stall`` from a thread whenever the yielded function was not called for ``seconds``."""
    beat, stopped = threading.Event(), threading.Event()

    def watch() -> None:
        while not stopped.is_set():
            if beat.wait(seconds):
                beat.clear()
            elif not stopped.is_set():
                on_stall()

    threading.Thread(target=watch, name="kserve-warmup-watch", daemon=True).start()
    try:
        yield beat.set
    finally:
        stopped.set()
        beat.set()
