"""The one place where a server process is ended because its model cannot be warmed: one line, and exit code 1."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Iterable
from multiprocessing.process import BaseProcess

from kserve_warmup import signals
from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.printable import printable

logger = logging.getLogger("kserve.warmup")

WORKER_FAULT = 86
"""How a worker ends that cannot be warmed; KServe alone would start another, for ever."""

GRACE_SECONDS = 2.0
"""For the other workers to end by themselves."""


def end_process(line: str) -> None:
    """End this process: in a worker so that the whole server ends with it. A host may go on: see ``exit_process``."""
    line = printable(line)
    logger.critical("%s", line)
    sys.stderr.write(f"kserve-warmup: {line}\n")
    sys.stderr.flush()
    sys.stdout.flush()
    if multiprocessing.parent_process() is not None:
        signals.exit_process(WORKER_FAULT)
        return
    end_workers(multiprocessing.active_children())
    signals.exit_process(WarmupFailedError.exit_code)


def ends_with_its_workers(workers: Iterable[BaseProcess]) -> bool:
    """End this process, the parent, if one of its workers could not be warmed; return whether one could not."""
    found = list(workers)
    fault = any(worker.exitcode == WORKER_FAULT for worker in found)
    if fault:
        end_workers(worker for worker in found if worker.exitcode is None)
        signals.exit_process(WarmupFailedError.exit_code)
    return fault


def end_workers(workers: Iterable[BaseProcess]) -> None:
    """End worker processes, by force where they do not end by themselves."""
    running = list(workers)
    for worker in running:
        worker.terminate()
    for worker in running:
        worker.join(GRACE_SECONDS)
        if worker.exitcode is None:
            worker.kill()
