"""Measured times to ready, from what this package saves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kserve_warmup.caches.bake_result import BakeResult
from kserve_warmup.errors import WarmupError
from kserve_warmup.lint.findings import Knowledge
from kserve_warmup.report import WarmupReport
from kserve_warmup.results import Result, read_results
from kserve_warmup.verify.verify_result import Verification


def read_knowledge(reports: Sequence[Path], samples: Path | None = None) -> Knowledge:
    """Return what reports tell of the time to ready.

    Raises:
        WarmupError: one cannot be read, or holds no time to ready; names the file.
    """
    seconds: list[float] = []
    for path in reports:
        found = [s for result in read_results(path) for s in _seconds(result)]
        if not found:
            raise WarmupError(
                f"{path} holds no time to ready: name the report of a WarmupModel's start, or of verify -- COMMAND"
            )
        seconds += found
    return Knowledge(tuple(sorted(seconds)), ", ".join(path.name for path in reports), samples)


def _seconds(result: Result) -> Iterator[float]:
    found: list[float | None] = []
    if isinstance(result, WarmupReport):
        found = [result.ready_seconds]
    elif isinstance(result, Verification):
        found = [start.ready_seconds for start in result.starts]
    elif isinstance(result, BakeResult):
        found = [start.warm_seconds for start in result.starts]
    yield from (s for s in found if s is not None)
