"""``WarmupModel``: a ``kserve.Model`` that is healthy only once it is warm."""

from __future__ import annotations

import inspect
from typing import Any

import kserve

from kserve_warmup.serving.hooks import admit, put_ourselves_around
from kserve_warmup.serving.lifecycle import SHUT
from kserve_warmup.transports.endpoints import WARMUP_HEADER
from kserve_warmup.warmable import Warmable


class WarmupModel(Warmable, kserve.Model):  # type: ignore[misc]
    """A KServe model that answers its own traffic until it is fast, and only then says that it is healthy.

    Changing the base class is all that a model needs. Its own ``load()`` may end with ``self.ready = True`` as before:
    the assignment means "loaded". Or leave ``load()`` alone and override :meth:`load_model`.

    ``load()`` warms what can run there as it will run when served: plain predict, preprocess and postprocess, on the
    thread that serves. Coroutines, and all that needs a running loop or what is set up after ``load()``, are warmed on
    the loop that serves, through the server's own REST and gRPC stack.

    Attributes:
        warmup_settings: Settings for this class or instance; None reads the environment when the model is loaded.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Put ourselves around a subclass's own hooks, those that a mixin brings included."""
        super().__init_subclass__(**kwargs)
        put_ourselves_around(cls, WarmupModel)

    async def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Any:
        """Return ``payload`` as it is; what a subclass has instead comes after this look at who asks.

        Raises:
            StillWarmingError: the model is still warming up; gRPC's path has no such gate of its own.
        """
        if SHUT or (headers and WARMUP_HEADER in headers):
            admit(self, headers)
        return payload

    def _has_coroutines(self) -> bool:
        own = (self.predict, self.explain, self.preprocess, self.postprocess, self.load_model)
        return any(
            inspect.iscoroutinefunction(hook) or inspect.isasyncgenfunction(hook)
            for hook in own
            # KServe's are coroutines too: preprocess and postprocess do nothing, predict and explain call others.
            if getattr(hook, "__func__", None) not in _NOT_THEIR_OWN
        )


_KSERVES = ("predict", "explain", "preprocess", "postprocess")
_NOT_THEIR_OWN = (WarmupModel.preprocess, *(getattr(kserve.Model, name) for name in _KSERVES))
