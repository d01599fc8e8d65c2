"""A warm-up request that blocks its thread: no timeout on that thread's loop can cut it, so another thread looks on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType

from kserve_warmup.replay import NoAnswerError

_SIGNAL = signal.SIGURG
"""Interrupts a system call under way in the main thread; whoever does not handle it ignores it."""


@contextmanager
def watched(seconds: float, on_hang: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Call ``on_hang`` from a thread whenever the yielded function was not called for ``seconds``."""
    beat, stopped = threading.Event(), threading.Event()

    def watch() -> None:
        while not stopped.is_set():
            if beat.wait(seconds):
                beat.clear()
            elif not stopped.is_set():
                on_hang()

    threading.Thread(target=watch, name="kserve-warmup-watch", daemon=True).start()
    try:
        yield beat.set
    finally:
        stopped.set()
        beat.set()


@contextmanager
def interruptible(inside: CodeType, message: str) -> Iterator[Callable[[], None]]:
    """Yield what makes a hanging request in the main thread raise :class:`NoAnswerError`, as far as Python can.

    A sleep, a lock or a socket is interrupted; native code that never returns is not.

    Args:
        inside: The code of the function that the request is handled in: nothing else is ever interrupted.
        message: What the error says.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return

    def interrupt(_number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code is inside:
                raise NoAnswerError(message)
            frame = frame.f_back

    before = signal.signal(_SIGNAL, interrupt)
    main = threading.main_thread().ident
    assert main is not None, "the main thread runs"
    try:
        yield lambda: signal.pthread_kill(main, _SIGNAL)
    finally:
        signal.signal(_SIGNAL, before)
