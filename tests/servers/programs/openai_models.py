"""KServe's OpenAI models with a real, tiny network each, which Numba compiles for its first request.

Run as ``python openai_models.py CLASS[,CLASS]``; CONTROL=1 makes them plain models of KServe's. Their answers tell how
often this process had been asked the same before, in what way, and how many of those requests were marked as warm-ups.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

import kserve
import numba
import numpy as np
from kserve.protocol.rest.openai import OpenAIEncoderModel, OpenAIGenerativeModel, OpenAIProxyModel
from kserve.protocol.rest.openai.errors import create_error_response
from kserve.protocol.rest.openai.types import (
    ChatCompletion,
    ChatCompletionChoice,
    ChatCompletionChunk,
    ChatMessage,
    ChoiceDelta,
    ChunkChoice,
    Completion,
    CompletionChoice,
    Embedding,
    EmbeddingResponseData,
    Rerank,
    UsageInfo,
)
from vllm.entrypoints.pooling.scoring.protocol import RerankDocument, RerankResult, RerankUsage

from kserve_warmup import WarmupOpenAIModel, is_warmup

WIDTH, WORDS = 64, 256


class Nothing:
    """Stands in for the warm-up in a control."""


Warmed = Nothing if "CONTROL" in os.environ else WarmupOpenAIModel


@numba.njit
def step(state, word, inner, outer):
    """Return the next state of a recurrent network, and its next word."""
    new = np.tanh((inner * state).sum(axis=1) + outer[word])
    return new, np.argmax((outer * new).sum(axis=1))


@numba.njit
def embed(words, outer):
    total = np.zeros(WIDTH)
    for word in words:
        total += outer[word]
    return np.tanh(total / len(words))


class Network:
    """Counts what it is asked."""

    def __init__(self, name):
        super().__init__(name)
        self.asked = Counter()

    def load(self):
        random = np.random.default_rng(0)
        self.inner, self.outer = random.normal(size=(WIDTH, WIDTH)) / 8, random.normal(size=(WORDS, WIDTH))
        self.ready = True
        return True

    def count(self, kind, context):
        """Return what was asked before: this, with the mark, by is_warmup(); and whether this request has either."""
        marked, told = "x-kserve-warmup" in context["headers"], is_warmup()
        said = {"before": self.asked[kind], "marked": self.asked["marked"], "told": self.asked["told"]}
        self.asked.update({kind: 1, "marked": int(marked), "told": int(told)})
        return json.dumps(said | {"this": [marked, told]})

    def words(self, prompt, count):
        """Yield words, one at a time."""
        state, word = np.zeros(WIDTH), len(prompt) % WORDS
        for _ in range(count):
            state, word = step(state, word, self.inner, self.outer)
            yield f"w{word}"


class Chat(Network, Warmed, OpenAIGenerativeModel):
    async def create_chat_completion(self, request, raw_request=None, context=None):
        prompt = str(request.messages[-1]["content"])
        if prompt == "refuse":
            return create_error_response("not this")
        if prompt == "fail":
            raise ValueError("this model has no weights")
        said = self.count("chat stream" if request.stream else "chat", context)
        words = self.words(prompt, request.max_tokens or 8)
        if request.stream:
            return self.events(request, said, words)
        message = ChatMessage(role="assistant", content=f"{said} {' '.join(words)}")
        choice = ChatCompletionChoice(index=0, message=message, finish_reason="stop")
        return ChatCompletion(model=request.model, choices=[choice], usage=UsageInfo())

    async def events(self, request, said, words):
        for text in (said, *words):
            choice = ChunkChoice(index=0, delta=ChoiceDelta(content=text))
            yield f"data: {ChatCompletionChunk(model=request.model, choices=[choice]).model_dump_json()}\n\n"
            await asyncio.sleep(0)
        yield "data: [DONE]\n\n"

    async def create_completion(self, request, raw_request=None, context=None):
        said = self.count("completion", context)
        text = f"{said} {' '.join(self.words(request.prompt, 8))}"
        return Completion(
            model=request.model,
            choices=[CompletionChoice(index=0, text=text, finish_reason="stop")],
            usage=UsageInfo(),
        )


class Texts(Network, Warmed, OpenAIEncoderModel):
    def of(self, text):
        return embed(np.frombuffer(text.encode(), dtype=np.uint8), self.outer)

    async def create_embedding(self, request, raw_request=None, context=None):
        said = self.count("embedding", context)
        texts = [request.input] if isinstance(request.input, str) else request.input
        data = [EmbeddingResponseData(index=i, embedding=self.of(text).tolist()) for i, text in enumerate(texts)]
        return Embedding(id=said, model=request.model, data=data, usage=UsageInfo())

    async def create_rerank(self, request, raw_request=None, context=None):
        said = self.count("rerank", context)
        query = self.of(request.query)
        found = [
            RerankResult(index=i, document=RerankDocument(text=text), relevance_score=float(query @ self.of(text)))
            for i, text in enumerate(request.documents)
        ]
        return Rerank(id=said, model=request.model, usage=RerankUsage(prompt_tokens=1, total_tokens=1), results=found)


class MixinLast(Network, OpenAIGenerativeModel, Warmed):
    """The mixin stands behind KServe's class."""

    create_chat_completion, create_completion = Chat.create_chat_completion, Chat.create_completion
    events = Chat.events


class Engine(Chat):
    """As KServe's own model for vLLM has it: load() says False, and the engine comes later."""

    ready: bool = False

    def load(self):
        super().load()
        self.engine = True
        return False

    def start(self):
        pass

    async def start_engine(self):
        gate = Path(os.environ["GATE"])
        while not gate.exists():  # noqa: ASYNC110, ASYNC240 - a file tells no event
            await asyncio.sleep(0.05)
        self.client = gate
        self.ready = True

    async def healthy(self):
        return self.client.exists()


class Unloaded(Chat):
    """Nobody calls its load(): it is ready from its constructor on."""

    def __init__(self, name):
        super().__init__(name)
        super().load()

    def load(self):
        time.sleep(3600)


class Proxy(Warmed, OpenAIProxyModel):
    def __init__(self, name):
        super().__init__(name, os.environ["UPSTREAM"], health_endpoint=None)


def main():
    names = sys.argv[1].split(",")
    models = []
    for name in names:
        models.append(globals()[name](name.lower() if len(names) > 1 else "model"))
        if name not in ("Unloaded", "Proxy"):
            models[-1].load()
    kserve.ModelServer().start(models)


if __name__ == "__main__":
    main()
