"""Thousands of warm-up requests must not bury a server's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

REQUEST_LOGGERS = ("kserve", "kserve.trace", "uvicorn.access")
"""A line or more for each request goes to these: KServe's model.py (trace) and grpc/interceptors.py, uvicorn."""

LINES_LET_THROUGH = 3


class _First(logging.Filter):
    """Lets the first lines through: they warm the formatting, and show what a request looks like."""

    def __init__(self) -> None:
        super().__init__()
        self._seen = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.INFO:
            return True
        self._seen += 1
        return self._seen <= LINES_LET_THROUGH


@contextmanager
def requests_quiet() -> Iterator[None]:
    """Drop all but the first request lines of level INFO in this block; warnings and errors pass."""
    pairs = [(logging.getLogger(name), _First()) for name in REQUEST_LOGGERS]
    for logger, quiet in pairs:
        logger.addFilter(quiet)
    try:
        yield
    finally:
        for logger, quiet in pairs:
            logger.removeFilter(quiet)
