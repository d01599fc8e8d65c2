"""How this process ends at once: SIGTERM during a load or a warm-up, and whatever else leaves no other way."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_CODE = 128 + signal.SIGTERM
"""What a shell reports of a process that SIGTERM has ended."""


def exit_process(code: int) -> None:
    """End this process with ``code``; nothing else in the package does so.

    uvicorn goes on after an exception in a lifespan, and a thread cannot end another: so not ``sys.exit``. A host that
    must live on, such as a test runner or a notebook, puts a function of its own in this one's place:
    ``kserve_warmup.signals.exit_process = note_the_code``. It may be called from any thread. If it returns, or raises,
    the model stays unready, and all else goes on.
    """
    os._exit(code)


@contextmanager
def ends_at_once() -> Iterator[None]:
    """Let SIGTERM end the process within this block, whatever runs in it; outside the main thread do nothing.

    There is nothing to save before a model serves. The kernel's default action needs no Python to run, so it works in
    the middle of a compile too; uvicorn and KServe install handlers that wait for an event loop, and a warm-up may
    block it. As PID 1 of a container the default action is to ignore the signal: there a thread waits for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if os.getpid() == 1:
        with _ended_by_a_thread():
            yield
        return
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _ended_by_a_thread() -> Iterator[None]:
    """Exit from a thread that reads the wake-up file: C code writes it even while the main thread is in a library."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    threading.Thread(target=_exit_on_sigterm, args=(reader,), name="kserve-warmup-sigterm", daemon=True).start()
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, _ignore)
    before_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before_fd)
        signal.signal(signal.SIGTERM, before)
        writer.close()


def _exit_on_sigterm(reader: socket.socket) -> None:
    with reader:
        while received := reader.recv(1):
            if received[0] == signal.SIGTERM:
                exit_process(EXIT_CODE)


def _ignore(_signal: int, _frame: FrameType | None) -> None:
    """Stand in as a Python handler: without one the wake-up file is not written."""
