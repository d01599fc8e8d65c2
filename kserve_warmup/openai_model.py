"""``WarmupOpenAIModel``: makes a model of KServe's OpenAI protocol healthy only once it is warm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kserve_warmup.serving.lifecycle import lifecycle_of
from kserve_warmup.serving.openai_hooks import put_openai_hooks_around
from kserve_warmup.warmable import Warmable


class WarmupOpenAIModel(Warmable):
    """A base class beside one of KServe's: ``class Chat(WarmupOpenAIModel, OpenAIGenerativeModel)``.

    Chats, completions, embeddings and rerankings of the sample set go through the server's own ``/openai/v1/...``
    endpoints, streams to their end, once the model's engine is up; only then are its readiness endpoints true, and
    until then users get 503. It stands before or after ``OpenAIGenerativeModel``, ``OpenAIEncoderModel``,
    ``OpenAIProxyModel`` or a model made of them.

    KServe has these endpoints, and the module of these classes, only where vLLM is installed (its extra ``llm``).
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Put ourselves around the hooks of whatever else ``cls`` is made of."""
        super().__init_subclass__(**kwargs)
        put_openai_hooks_around(cls, (WarmupOpenAIModel, Warmable))

    def _load(self, load: Callable[[Any], Any]) -> bool:
        """Run ``load``; that the model said before that it is ready holds unless a load takes it back.

        KServe's OpenAI models are ready from their constructor on, and what ``load()`` returns is not looked at: that
        of the one for vLLM returns False, and its engine starts later.
        """
        lifecycle = lifecycle_of(self)
        if lifecycle.loading_here or not self.ready:
            return super()._load(load)

        def ready_as_before(model: Any) -> Any:
            lifecycle.move(lifecycle.state.declares(ready=True))
            return load(model)

        return super()._load(ready_as_before)
