"""Read traffic on a Ray cluster: the same work as in one process, split over tasks, merged to the same digest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.digest import Digest, Job
from kserve_warmup.samples.engines import Engine, Work

TASKS_A_CPU = 4
"""More tasks than CPUs, so that one that reads slowly does not hold up the end."""


def engine(address: str | None = None, jobs: int | None = None) -> Engine:
    """Return the engine that runs on the cluster at ``address``.

    Args:
        address: as ``ray.init`` takes it; None: ``$RAY_ADDRESS``, or a local cluster that ends with the run.
        jobs: CPUs to use; None: all that the cluster has.

    Raises:
        SampleError: Ray is not installed.
    """
    try:
        import ray
    except ImportError:
        raise SampleError("--engine ray needs Ray: pip install 'kserve-warmup[ray]'") from None

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
    local = {} if address else {"num_cpus": jobs}
    try:
        ray.init(address, log_to_driver=False, logging_level="error", include_dashboard=False, **local)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SampleError(f"--ray-address {address}: cannot connect: {reason}") from None


def _read(ray: Any, work: Work, job: Job, progress: Callable[[int], object], jobs: int | None) -> Digest:
    """Run tasks and merge each one's digest as it comes."""
    cpus = jobs or int(ray.cluster_resources().get("CPU", 1))
    piles = balanced(work, cpus * TASKS_A_CPU)
    # The digest of a task is small: a few bodies a stratum. An error is the user's and shall not be tried again.
    task = ray.remote(num_cpus=1, max_retries=2, retry_exceptions=False)(_task)
    running = {task.remote(pile, job): sum(part.size for _, part in pile) for pile in piles}
    digest = Digest(job)
    while running:
        (done,), _ = ray.wait(list(running), num_returns=1)
        try:
            digest.merge(ray.get(done))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        progress(running.pop(done))
    return digest


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
