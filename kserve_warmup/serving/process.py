"""What this process serves, and where."""

from __future__ import annotations

import asyncio
import multiprocessing
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from kserve import Model


@dataclass
class Process:
    """What this process serves: ``app`` once its lifespan has begun, ``loop`` once anything does."""

    loop: asyncio.AbstractEventLoop | None = None
    app: Any = None
    models: weakref.WeakValueDictionary[int, Model] = field(default_factory=weakref.WeakValueDictionary)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Models are warmed one after the other: they would disturb each other's latencies."""

    @property
    def serving(self) -> bool:
        """Return whether a server runs here."""
        return self.loop is not None and self.loop.is_running()

    def begin(self, app: Any = None) -> None:
        """Note the running loop as the one that serves; what an earlier server of this process had is forgotten."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            self.loop, self.app, self.turn = loop, None, asyncio.Lock()
        self.app = app or self.app

    def spawn(self, work: Any) -> asyncio.Task[None]:
        """Run a coroutine beside everything else."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


PROCESS = Process()
"""This one."""


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that runs in this thread, None if none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def in_worker() -> bool:
    """Return whether this process is one of several workers."""
    return multiprocessing.parent_process() is not None


def unless_serving(block: Callable[[], AbstractContextManager[None]]) -> AbstractContextManager[None]:
    """Return ``block()``, or nothing in a process whose server is up."""
    return nullcontext() if PROCESS.serving else block()
