"""Hundreds of warm-up requests must not bury a server's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from kserve_warmup.serving.context import Attempt, attempt

REQUEST_LOGGERS = ("kserve", "kserve.trace", "uvicorn.access")
"""A line or more for each request goes to these: KServe's model.py (trace) and grpc/interceptors.py, uvicorn."""

LINES_LET_THROUGH = 3


class _First(logging.Filter):
    """Lets the first lines of warm-up requests through: they warm the formatting, and show what one looks like."""

    def __init__(self, own: Attempt, highest: int) -> None:
        super().__init__()
        self._own, self._highest, self._seen = own, highest, 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > self._highest or attempt() is not self._own:
            return True
        self._seen += 1
        return self._seen <= LINES_LET_THROUGH


@contextmanager
def requests_quiet(own: Attempt, highest: int = logging.INFO) -> Iterator[None]:
    """Drop all but the first lines, up to the level ``highest``, that ``own`` requests write; all others pass."""
    pairs = [(logging.getLogger(name), _First(own, highest)) for name in REQUEST_LOGGERS]
    for logger, quiet in pairs:
        logger.addFilter(quiet)
    try:
        yield
    finally:
        for logger, quiet in pairs:
            logger.removeFilter(quiet)
