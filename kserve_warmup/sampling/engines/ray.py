"""Read traffic on a Ray cluster: the same work as in one process, split over tasks, merged to the same digest."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from kserve_warmup.errors import SampleError, WarmupError
from kserve_warmup.extras import optional
from kserve_warmup.sampling.digest import Digest, Job
from kserve_warmup.sampling.engines import Engine, Work

_CONNECT_SECONDS = 10

TASKS_A_CPU = 4
"""More tasks than CPUs, so that one that reads slowly does not hold up the end."""


def engine(address: str | None = None, jobs: int | None = None) -> Engine:
    """Return the engine that runs on the cluster at ``address``.

    Args:
        address: as ``ray.init`` takes it; None: ``$RAY_ADDRESS``, or a local cluster that ends with the run.
        jobs: CPUs to use; None: all that the cluster has.

    Raises:
        MissingPackageError: Ray is not installed.
    """
    ray = optional("ray", "--engine ray needs", "ray")

    def run(work: Work, job: Job, progress: Callable[[int], object]) -> Digest:
        started = not ray.is_initialized()
        if started:
            _connect(ray, address, jobs)
        try:
            return _read(ray, work, job, progress, jobs)
        finally:
            if started:
                ray.shutdown()

    return run


def _connect(ray: Any, address: str | None, jobs: int | None) -> None:
    existing = address or os.environ.get("RAY_ADDRESS")
    if existing:
        _check_listening(existing)
    local = {} if existing else {"num_cpus": jobs, "include_dashboard": False}
    try:
        # "local" starts a cluster even where Ray remembers another one, which may be long gone.
        ray.init(existing or "local", log_to_driver=False, logging_level="error", **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SampleError(f"Ray at {existing or 'this machine'} cannot be reached: {_line(error)}") from None


def _check_listening(address: str) -> None:
    """Refuse an address where nothing listens, which Ray itself tries for many minutes.

    Raises:
        SampleError: nothing listens there.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        return  # "auto" and the like
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        reason = error.strerror or error
        raise SampleError(f"Ray at {address} cannot be reached: {reason}; is its address right?") from None


def _read(ray: Any, work: Work, job: Job, progress: Callable[[int], object], jobs: int | None) -> Digest:
    """Run tasks and merge each one's digest as it comes."""
    cpus = jobs or int(ray.cluster_resources().get("CPU", 1))
    task = ray.remote(num_cpus=1, max_retries=2)(_task)
    running = {
        task.remote(pile, job): sum(part.size for _, part in pile) for pile in balanced(work, cpus * TASKS_A_CPU)
    }
    digest = Digest(job)
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        try:
            digest.merge(ray.get(done))
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, WarmupError):
                raise cause from None
            reason = f"{_line(cause or error)}; has every node kserve-warmup and the files?"
            raise SampleError(f"a Ray task failed: {reason}") from error
        progress(running.pop(done))
    return digest


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _task(pile: Work, job: Job) -> Digest:
    return Digest(job).read(pile)


def balanced(work: Work, piles: int) -> Sequence[Work]:
    """Return the work in up to ``piles`` piles of about the same number of bytes."""
    stacks: list[list[Any]] = [[] for _ in range(min(piles, len(work)))]
    sizes = [0] * len(stacks)
    for item in sorted(work, key=lambda item: -item[1].size):
        smallest = sizes.index(min(sizes))
        stacks[smallest].append(item)
        sizes[smallest] += item[1].size
    return stacks
