"""The one place where a server process is ended because its model cannot be warmed: one line, and exit code 1."""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from typing import NoReturn

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.printable import printable

logger = logging.getLogger("kserve.warmup")

WORKER_FAULT = 86
"""How a worker ends that cannot be warmed; KServe alone would start another, for ever."""

GRACE_SECONDS = 2.0
"""For the other workers to end by themselves."""

exit_process: Callable[[int], NoReturn] = os._exit
"""What ends the process. uvicorn goes on after an exception in a lifespan, and a thread cannot end another: so not
``sys.exit``. A host that must do it in another way replaces this."""


def end_process(line: str) -> NoReturn:
    """End this process: in a worker so that the whole server ends with it."""
    line = printable(line)
    logger.critical("%s", line)
    sys.stderr.write(f"kserve-warmup: {line}\n")
    sys.stderr.flush()
    sys.stdout.flush()
    if multiprocessing.parent_process() is not None:
        exit_process(WORKER_FAULT)
    end_workers(multiprocessing.active_children())
    exit_process(WarmupFailedError.exit_code)


def ends_with_its_workers(workers: Iterable[BaseProcess]) -> None:
    """End this process, the parent, if one of its workers could not be warmed."""
    found = list(workers)
    if any(worker.exitcode == WORKER_FAULT for worker in found):
        end_workers(worker for worker in found if worker.exitcode is None)
        exit_process(WarmupFailedError.exit_code)


def end_workers(workers: Iterable[BaseProcess]) -> None:
    """End worker processes, by force where they do not end by themselves."""
    running = list(workers)
    for worker in running:
        worker.terminate()
    for worker in running:
        worker.join(GRACE_SECONDS)
        if worker.exitcode is None:
            worker.kill()
