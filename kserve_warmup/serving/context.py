"""Is the request under way a warm-up request? Known by the context that it runs in, which nobody outside can reach."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

REQUEST_LOGGERS = ("kserve", "kserve.trace", "uvicorn.access")
"""A line or more for each request goes to these: KServe's model.py (trace) and grpc/interceptors.py, uvicorn."""

LINES_LET_THROUGH = 3


@dataclass
class Attempt:
    """The warm-up requests of one model.

    Attributes:
        error: What the model raised in the last one, before a server made a status of it.
        asked: Ids of the models that were asked whether they are healthy.
        over: Whether there will be no more. What they have left in the background, such as a task that empties a
            queue, serves users from then on.
    """

    error: BaseException | None = None
    asked: set[int] = field(default_factory=set)
    over: bool = False


_ATTEMPT: ContextVar[Attempt | None] = ContextVar("kserve_warmup_attempt", default=None)


def is_warmup() -> bool:
    """Return whether the request under way is a warm-up request.

    For a model to skip what only real requests may do: billing, audit logs, writes. A request from outside that carries
    the header ``x-kserve-warmup`` is none.
    """
    return attempt() is not None


def attempt() -> Attempt | None:
    """Return whose warm-up request is under way, None if none is."""
    found = _ATTEMPT.get()
    return None if found is None or found.over else found


@contextmanager
def warming(noted: Attempt) -> Iterator[None]:
    """Mark the requests made in this block, and those that its servers handle, as warm-up requests."""
    token = _ATTEMPT.set(noted)
    try:
        yield
    finally:
        _ATTEMPT.reset(token)


def mark(noted: Attempt) -> None:
    """Mark the running task as one that handles a warm-up request."""
    _ATTEMPT.set(noted)


async def noting(answer: Awaitable[T]) -> T:
    """Await a model's answer to a warm-up request, and note what it raises instead."""
    try:
        return await answer
    except Exception as error:
        if (noted := attempt()) is not None:
            noted.error = error
        raise


@contextmanager
def errors_noted(model_class: type) -> Iterator[None]:
    """Note what models of a class raise in warm-up requests within this block; later calls cost nothing more.

    An OpenAI model is not called: its hooks note what they raise.
    """
    if not any("__call__" in vars(cls) for cls in model_class.__mro__):
        yield
        return
    own: Any = getattr(model_class, "__call__")  # noqa: B004, B009  (of the class, which instances are called by)
    inherited = "__call__" not in vars(model_class)

    @functools.wraps(own)
    async def answer(self: Any, *args: Any, **kwargs: Any) -> Any:
        answered = own(self, *args, **kwargs)
        return await (noting(answered) if is_warmup() else answered)

    setattr(model_class, "__call__", answer)  # noqa: B010
    try:
        yield
    finally:
        if inherited:
            delattr(model_class, "__call__")
        else:
            setattr(model_class, "__call__", own)  # noqa: B010


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
    """Drop all but the first lines, up to the level ``highest``, that ``own`` requests write; all others pass.

    Hundreds of warm-up requests must not bury a server's log.
    """
    pairs = [(logging.getLogger(name), _First(own, highest)) for name in REQUEST_LOGGERS]
    for logger, quiet in pairs:
        logger.addFilter(quiet)
    try:
        yield
    finally:
        for logger, quiet in pairs:
            logger.removeFilter(quiet)
