"""Around the hooks of KServe's OpenAI models: who asks, what a failure means, and what an upstream is told."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from kserve.model import BaseKServeModel

from kserve_warmup.capture.capturing import CAPTURE
from kserve_warmup.capture.openai_tap import recorded_openai
from kserve_warmup.replay import DependencyAwayError
from kserve_warmup.serving.context import attempt, noting
from kserve_warmup.serving.faults import AWAY
from kserve_warmup.serving.hooks import WRAPPERS, admit, put_around, show_properties
from kserve_warmup.serving.lifecycle import SHUT
from kserve_warmup.transports.endpoints import WARMUP_HEADER

_HEADER = WARMUP_HEADER.encode()

UPSTREAM_HEADERS = "upstream_headers"
"""Where in a request's scope ``OpenAIProxyModel`` looks for headers to send on (openai_proxy_model.py:240 of 0.21)."""


def put_openai_hooks_around(cls: type[BaseKServeModel], ours: tuple[type, ...]) -> None:
    """Wrap the hooks that ``cls`` would have without the mixin ``ours``, which may stand before or after them.

    What none of its classes but KServe's ``BaseKServeModel`` has, is the mixin's own.
    """
    for name, wrap in _WRAPPERS.items():
        owner = next((c for c in cls.__mro__ if name in vars(c) and c not in ours), None)
        if owner not in (None, BaseKServeModel, object):
            put_around(cls, name, vars(owner)[name], wrap)
    show_properties(cls, ours[-1])


def _creating(create: Any) -> Any:
    """Wrap what answers a request: ``create_chat_completion`` and its kin."""

    @functools.wraps(create)
    async def wrapper(self: BaseKServeModel, *args: Any, **kwargs: Any) -> Any:
        raw_request = kwargs.get("raw_request", args[1] if len(args) > 1 else None)
        if (warming := attempt()) is None:
            if SHUT or (raw_request is not None and WARMUP_HEADER in raw_request.headers):
                _admit(self, raw_request, kwargs.get("context", args[2] if len(args) > 2 else None))  # noqa: PLR2004
            answer = create(self, *args, **kwargs)
            return await (
                recorded_openai(answer, self.name, raw_request, CAPTURE)
                if CAPTURE and raw_request is not None
                else answer
            )
        if raw_request is not None:
            raw_request.scope.setdefault(UPSTREAM_HEADERS, {WARMUP_HEADER: "true"})
        found = await noting(create(self, *args, **kwargs))
        if (error := getattr(found, "error", None)) is not None and str(getattr(error, "code", "")) in _AWAY_CODES:
            warming.error = DependencyAwayError(str(getattr(error, "message", ""))[:200])
        return found

    return wrapper


_AWAY_CODES = frozenset(str(status.value) for status in AWAY)


def _admit(model: BaseKServeModel, raw_request: Any, context: Any) -> None:
    """Let a request in without the mark of a warm-up, wherever KServe has put its headers."""
    admit(model, context.get("headers") if isinstance(context, dict) else None)
    if raw_request is not None:
        kept = [pair for pair in raw_request.scope["headers"] if pair[0] != _HEADER]
        raw_request.scope["headers"][:] = kept  # Starlette's Headers hold this very list


_CREATE = ("create_completion", "create_chat_completion", "create_embedding", "create_rerank")
_WRAPPERS: dict[str, Callable[[Any], Any]] = {
    **{name: wrap for name, wrap in WRAPPERS.items() if name != "preprocess"},
    **dict.fromkeys(_CREATE, _creating),
}
