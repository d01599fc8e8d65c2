"""Read traffic in this process, or in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any

from kserve_warmup.errors import SampleError, WarmupError
from kserve_warmup.sampling.digest import Digest, Job
from kserve_warmup.sampling.engines import Engine, Work
from kserve_warmup.sampling.formats.record import Part

WORTH_A_PROCESS = 128 * 2**20
"""Bytes of traffic below which starting another process (half a second) takes longer than it saves."""

BATCH = 8 * 2**20
"""Bytes of small parts that a worker gets at a time."""

_OPENING = 2**16
"""Bytes that could be read in the time that opening a file takes."""


def engine(jobs: int) -> Engine:
    """Return the engine that uses up to ``jobs`` processes."""

    def run(work: Work, job: Job, progress: Callable[[int], object]) -> Digest:
        worth = sum(part.size + _OPENING for _, part in work) // WORTH_A_PROCESS + 1
        processes = min(jobs, len(work), worth)
        return Digest(job).read(work, progress) if processes <= 1 else _many(work, job, progress, processes)

    return run


def _many(work: Work, job: Job, progress: Callable[[int], object], processes: int) -> Digest:
    """Give each worker the next part when it is done with the last one, and merge what they have in the end."""
    # spawn: a fork would copy the locks of threads that are running.
    context = multiprocessing.get_context("spawn")
    waiting = deque(_batches(work))
    digest = Digest(job)
    workers: dict[Connection, Any] = {}
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, job), daemon=True)
            process.start()
            theirs.close()
            workers[ours] = process
        running = dict(workers)
        while running:
            for pipe in wait(list(running)):
                assert isinstance(pipe, Connection)
                answer = _received(pipe, running[pipe])
                if isinstance(answer, Digest):
                    digest.merge(answer)
                    del running[pipe]
                else:
                    progress(answer)
                    with suppress(ConnectionError):  # it was killed just now: the next answer tells
                        pipe.send(waiting.popleft() if waiting else None)
    finally:
        for pipe, process in workers.items():
            process.terminate()
            process.join()
            pipe.close()
    return digest


def _batches(work: Work) -> Iterator[Work]:
    """Yield the work, large parts first and small ones many at a time, which spares asking for each."""
    batch: list[tuple[str, Part]] = []
    room = BATCH
    for item in sorted(work, key=lambda item: -item[1].size):
        batch.append(item)
        room -= item[1].size + _OPENING
        if room <= 0:
            yield batch
            batch, room = [], BATCH
    if batch:
        yield batch


def _received(pipe: Connection, process: Any) -> int | Digest:
    """Return what a worker sends: bytes that it has read, or its digest.

    Raises:
        WarmupError: the worker failed, or was killed.
    """
    try:
        answer = pipe.recv()
    except EOFError:
        process.join()
        msg = f"a process that reads traffic ended with {process.exitcode}: is there enough memory? Give fewer --jobs"
        raise SampleError(msg) from None
    if isinstance(answer, BaseException):
        raise answer
    assert isinstance(answer, int | Digest)
    return answer


def _work(pipe: Connection, job: Job) -> None:
    """Ask for parts, read them, and send the digest of all; this is what a worker process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends its workers
    digest = Digest(job)
    read = [0]

    def parts() -> Iterator[tuple[str, Part]]:
        while True:
            pipe.send(sum(read))
            read.clear()
            batch = pipe.recv()
            if batch is None:
                return
            yield from batch

    try:
        digest.read(parts(), read.append)
        pipe.send(digest)
    except WarmupError as error:
        pipe.send(error)
    except (EOFError, ConnectionError):
        pass  # the parent was killed: nobody waits for this
