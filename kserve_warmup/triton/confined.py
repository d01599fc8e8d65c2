"""Work on text whose author is not known to be well-meaning: in a process of bounded time, memory and answer.

A sandbox keeps a template from reaching what it must not, and not from counting to 10**12 or asking for a string of
terabytes, while it is compiled already. Only the kernel ends that for certain.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

from kserve_warmup.errors import TritonConfigError

SECONDS = 10.0
MEMORY = 512 << 20
"""Bytes above what the process has at its beginning."""
ANSWER = 4 << 20

_GOOD, _BAD = b"+", b"-"
_CHUNK = 1 << 16
_REASON = 300
"""Characters of a reason that are told."""


def confined(work: Callable[[], str]) -> str:
    """Return what ``work`` returns, done in a process of its own, which is no more when this returns.

    Raises:
        TritonConfigError: it failed, in one line; or it takes too long, too much memory, or writes too much.
    """
    ours, theirs = os.pipe()
    child = os.fork()  # cheap, once a model; the child only computes
    if not child:
        os.close(ours)
        _answer(work, theirs)
    os.close(theirs)
    try:
        answer = _received(ours)
    finally:
        os.close(ours)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if answer[:1] == _GOOD:
        return answer[1:].decode()
    raise TritonConfigError(answer[1:].decode() or f"it takes more than {MEMORY >> 20} MiB of memory, or crashes")


def _received(pipe: int) -> bytes:
    """Return all that comes until the pipe is closed."""
    end = time.monotonic() + SECONDS
    answer = bytearray()
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    while True:
        left = end - time.monotonic()
        if left <= 0 or not ready.poll(left * 1000):
            raise TritonConfigError(f"it takes longer than {SECONDS:g} s")
        chunk = os.read(pipe, _CHUNK)
        if not chunk:
            return bytes(answer)
        answer += chunk
        if len(answer) > ANSWER:
            raise TritonConfigError(f"it writes more than {ANSWER >> 20} MiB")


def _answer(work: Callable[[], str], pipe: int) -> None:
    """Do the work, write the answer and end this process, without a word of what the parent would say at its end."""
    code = 1
    try:
        _limit()
        try:
            answer = _GOOD + work().encode("utf-8", "replace")
        except MemoryError:
            answer = _BAD
        except Exception as error:  # noqa: BLE001  (whatever a template can raise)
            answer = _BAD + " ".join(_reason(error).split())[:_REASON].encode("utf-8", "replace")
        rest = memoryview(answer)
        while rest:
            rest = rest[os.write(pipe, rest[:_CHUNK]) :]
        code = 0
    finally:
        os._exit(code)


def _reason(error: Exception) -> str:
    import jinja2

    told = isinstance(error, TritonConfigError | jinja2.TemplateError)
    return str(error) if told else f"{type(error).__name__}: {error}"


def _limit() -> None:
    """Set what the kernel enforces, also when the parent is no more."""
    seconds = int(SECONDS + time.process_time()) + 1
    for what, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, _taken() + MEMORY)):
        _, hard = resource.getrlimit(what)
        with contextlib.suppress(ValueError, OSError):
            limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _taken() -> int:
    """Return the bytes of address space that this process has; threads and libraries reserve more than they use."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux: time and answer are bounded all the same
        return 1 << 40
