"""The way of one model from the start of its process to ready, step by step."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kserve_warmup.report import READY, Step

IMPORT = "import"
"""All that comes before a model's load: the interpreter, imports, models that are loaded before it."""

LOAD = "load"
MODEL_WARMUP = "model warm-up"
WIRE_WARMUP = "wire warm-up"


_IMPORTED = time.monotonic()


class Stopwatch:
    """Notes when each step begins and ends, in seconds since the process started.

    Args:
        reload: Whether the model was loaded before in this process: the clock then begins now, without an import.
    """

    def __init__(self, *, reload: bool = False) -> None:
        self.reload = reload
        age = 0.0 if reload else process_age()
        self._origin = time.monotonic() - age
        self.steps: tuple[Step, ...] = () if reload else (Step(IMPORT, 0.0, age),)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note the time that the block takes, however it ends."""
        start = self._now()
        try:
            yield
        finally:
            self.steps = (*self.steps, Step(name, start, self._now()))

    def ready(self) -> tuple[Step, ...]:
        """Return the steps so far with the moment at which the model became ready, now."""
        now = self._now()
        return (*self.steps, Step(READY, now, now))

    def _now(self) -> float:
        return time.monotonic() - self._origin


def process_age() -> float:
    """Return the seconds since this process started.

    Linux tells it in clock ticks since boot, to a hundredth of a second (proc_pid_stat(5), field 22). Elsewhere the
    seconds since this module was imported stand for it.
    """
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, ValueError, IndexError):
        return time.monotonic() - _IMPORTED
