"""Around the hooks that a subclass of ``WarmupModel`` overrides: its own come first, then the warm-up goes on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

from kserve.errors import ModelNotReady
from kserve.model import BaseKServeModel

from kserve_warmup.errors import WarmupError
from kserve_warmup.serving.context import is_warmup
from kserve_warmup.serving.lifecycle import SHUT, lifecycle_of
from kserve_warmup.serving.process import PROCESS
from kserve_warmup.transports.endpoints import WARMUP_HEADER

_STARTING_ENGINE: ContextVar[frozenset[int]] = ContextVar("kserve_warmup_starting_engine", default=frozenset())
_ASKING: ContextVar[frozenset[int]] = ContextVar("kserve_warmup_asking", default=frozenset())
"""The models whose hook runs in this context."""


def put_ourselves_around(cls: type[BaseKServeModel], base: type[BaseKServeModel]) -> None:
    """Wrap the hooks that ``cls`` has from elsewhere than ``base``, mixins included.

    A plain ``ready = False`` or ``engine = False`` in a class body would hide the properties of these names: KServe's
    own vLLM model has one.
    """
    for name, wrap in WRAPPERS.items():
        found = getattr(cls, name)
        if found is not getattr(base, name):
            put_around(cls, name, found, wrap)
    show_properties(cls, base)


def put_around(cls: type[BaseKServeModel], name: str, found: Any, wrap: Callable[[Any], Any]) -> None:
    """Give ``cls`` the hook ``found`` of somebody else's, wrapped; once."""
    if not hasattr(found, "_kserve_warmup_wrapped"):
        wrapper = wrap(found)
        wrapper._kserve_warmup_wrapped = True  # noqa: SLF001
        setattr(cls, name, wrapper)


def show_properties(cls: type[BaseKServeModel], base: type[BaseKServeModel]) -> None:
    """Put the properties of ``base`` before plain attributes of these names."""
    for name in ("ready", "engine"):
        if not hasattr(inspect.getattr_static(cls, name), "__get__"):
            setattr(cls, name, inspect.getattr_static(base, name))


class StillWarmingError(ModelNotReady):  # type: ignore[misc]
    """A request met a model whose load or warm-up is under way: HTTP 503, gRPC UNAVAILABLE.

    KServe's gRPC interceptor reads ``reason``, which its own ModelNotReady lacks (interceptors.py:88 of 0.21), and
    would answer UNKNOWN.
    """

    def __init__(self, model: str) -> None:
        """Name the model."""
        super().__init__(model, "It is loading or warming up.")
        self.reason = str(self)


def admit(model: BaseKServeModel, headers: dict[str, str] | None) -> None:
    """Let a request in: nobody outside may call one a warm-up request, nor have it answered before the model is warm.

    Raises:
        StillWarmingError: the model is still warming up.
    """
    if is_warmup():
        return
    if PROCESS.serving and lifecycle_of(model).not_yet:
        raise StillWarmingError(model.name)
    if headers and WARMUP_HEADER in headers:
        del headers[WARMUP_HEADER]


def _preprocessing(preprocess: Any) -> Any:
    """Wrap ``preprocess``, the first of a request's hooks."""
    if not inspect.iscoroutinefunction(preprocess):

        @functools.wraps(preprocess)
        def plain(self: BaseKServeModel, payload: Any, headers: Any = None, *args: Any, **kwargs: Any) -> Any:
            if SHUT or (headers and WARMUP_HEADER in headers):
                admit(self, headers)
            return preprocess(self, payload, headers, *args, **kwargs)

        return plain

    @functools.wraps(preprocess)
    async def wrapper(self: BaseKServeModel, payload: Any, headers: Any = None, *args: Any, **kwargs: Any) -> Any:
        if SHUT or (headers and WARMUP_HEADER in headers):  # here, not in there: each request looks at it
            admit(self, headers)
        return await preprocess(self, payload, headers, *args, **kwargs)

    return wrapper


def _loading(load: Any) -> Any:
    """Wrap ``load``: the outermost call warms."""
    if inspect.iscoroutinefunction(load):
        raise WarmupError(
            f"{load.__qualname__} is async, but KServe calls load() without await: use async load_model()"
        )

    @functools.wraps(load)
    def wrapper(self: BaseKServeModel, *args: Any, **kwargs: Any) -> bool:
        return bool(self._load(lambda model: load(model, *args, **kwargs)))

    return wrapper


def starting_engine(start_engine: Any) -> Any:
    """Wrap ``start_engine``: the outermost call warms, once the model's own engine is up."""
    return _outermost(start_engine, _STARTING_ENGINE, lambda model: model._start_engine)  # noqa: SLF001


def _being_healthy(healthy: Any) -> Any:
    """Wrap ``healthy``: what the model asks of itself counts beside its warmth."""
    return _outermost(healthy, _ASKING, lambda model: model._healthy)  # noqa: SLF001


def _outermost(own: Any, under_way: ContextVar[frozenset[int]], ours: Callable[[Any], Any]) -> Any:
    @functools.wraps(own)
    async def wrapper(self: BaseKServeModel) -> Any:
        if id(self) in under_way.get():  # super() in a subclass's own
            return await own(self)
        token = under_way.set(under_way.get() | {id(self)})
        try:
            return await ours(self)(own)
        finally:
            under_way.reset(token)

    return wrapper


def _within(block: Callable[[Any], AbstractContextManager[None]]) -> Callable[[Any], Any]:
    """Return what wraps a plain hook: it runs within ``block``."""

    def wrap(own: Any) -> Any:
        @functools.wraps(own)
        def wrapper(self: BaseKServeModel, *args: Any, **kwargs: Any) -> Any:
            with block(self):
                return own(self, *args, **kwargs)

        return wrapper

    return wrap


@contextmanager
def _constructing(model: Any) -> Iterator[None]:
    """Nothing is sent to a model that is only half made."""
    lifecycle = lifecycle_of(model)
    lifecycle.constructing += 1
    try:
        yield
    finally:
        lifecycle.constructing -= 1


@contextmanager
def _starting(model: Any) -> Iterator[None]:
    yield
    model._registered()  # noqa: SLF001


@contextmanager
def _stopping(model: Any) -> Iterator[None]:
    lifecycle_of(model).stopped = True
    PROCESS.models.pop(id(model), None)
    yield


stopping = _within(_stopping)
"""Wrap ``stop``: no server of this process is to warm the model."""


@contextmanager
def _arriving(model: Any) -> Iterator[None]:
    """A worker's copy is warmed however it was put together."""
    yield
    model._attend()  # noqa: SLF001


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "load": _loading,
    "preprocess": _preprocessing,
    "__init__": _within(_constructing),
    "start": _within(_starting),
    "start_engine": starting_engine,
    "healthy": _being_healthy,
    "stop": stopping,
    "__setstate__": _within(_arriving),
}
