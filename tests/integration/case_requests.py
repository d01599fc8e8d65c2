"""Models whose requests need more than their body, are refused, hang or fail; the control is as in case_models.py."""

import asyncio
import logging
import os
import threading
import time

import kserve
from kserve.errors import InvalidInput
from predictors import answer
from starlette.responses import JSONResponse

from kserve_warmup import WarmupModel, is_warmup


def told(payload, numbers):
    """Answer numbers in the protocol of the request."""
    if isinstance(payload, dict):
        return {"predictions": [numbers]}
    output = kserve.InferOutput("seen", [len(numbers)], "INT64", data=numbers)
    return kserve.InferResponse(payload.id or "none", payload.model_name, [output])


class Case(kserve.Model if "CONTROL" in os.environ else WarmupModel):
    def load(self):
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        return answer(payload)


class Keyed(Case):
    """Behind a middleware that asks for a key (see below)."""


class NeverAnswersPosts(Case):
    """Behind a middleware that hangs (see below)."""


class Explainer(Case):
    predict = kserve.Model.predict

    async def explain(self, payload, headers=None):
        return answer(payload)


class ExplainerOfPredictions(Case):
    """Explains what a predictor elsewhere says."""

    predict = kserve.Model.predict

    async def explain(self, payload, headers=None):
        predicted = await self.predict(payload, headers)
        return {"explanations": predicted["predictions"]}


class RefusesTwoRows(Case):
    def predict(self, payload, headers=None):
        if len(payload["instances"]) > 1:
            raise InvalidInput("one row at a time")
        return answer(payload)


class Marked(Case):
    """Answers how many requests were warm-ups to is_warmup() and had the mark, and of this one both."""

    warmups = 0

    def predict(self, payload, headers=None):
        marked = "x-kserve-warmup" in headers
        self.warmups += is_warmup() and marked
        return told(payload, [self.warmups, int(is_warmup()), int(marked)])


class SlowFirst(Case):
    calls = 0

    def predict(self, payload, headers=None):
        self.calls += 1
        time.sleep(3 if self.calls == 1 else 0)
        return answer(payload)


STARTED = threading.Event()


class WaitsForStartUp(Case):
    """Its thread sleeps until the application has started."""

    def predict(self, payload, headers=None):
        STARTED.wait()
        return answer(payload)


class HangsForTwoRows(Case):
    async def predict(self, payload, headers=None):
        await asyncio.sleep(3600 if len(payload["instances"]) > 1 else 0)
        return answer(payload)


class FailsWhenServed(Case):
    def predict(self, payload, headers=None):
        raise ValueError("this model has no weights")


class UnAwaited(Case):
    def _traced(function):  # noqa: N805
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapper

    @_traced
    async def predict(self, payload, headers=None):
        return answer(payload)


class PassesOn(Case):
    """A step of a graph, which answers what the next one is asked."""

    def predict(self, payload, headers=None):
        return payload


class Counts(kserve.Model):
    """A predictor that answers how many requests came with the mark of a warm-up, and how many without."""

    seen = (0, 0)

    def load(self):
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        marked = "x-kserve-warmup" in headers
        self.seen = (self.seen[0] + marked, self.seen[1] + (not marked))
        if isinstance(payload, dict):
            return {"predictions": [self.seen]}
        output = kserve.InferOutput("seen", [2], "INT64", data=list(self.seen))
        return kserve.InferResponse(payload.id or "none", payload.model_name, [output])


async def ask_for_key(request, call_next):
    if request.method == "POST" and request.headers.get("x-api-key") != "k":
        return JSONResponse({"error": "no key"}, 401)
    return await call_next(request)


class HangingMiddleware:
    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["method"] == "POST":
            await asyncio.sleep(3600)
        await self.inner(scope, receive, send)


class Queueing(Case):
    """Hands requests to a task that the first one has started; answers whether that took one for a warm-up request."""

    queue = None

    async def predict(self, payload, headers=None):
        if self.queue is None:
            self.queue = asyncio.Queue()
            self.emptying = asyncio.create_task(self.empty())
        answered = asyncio.get_running_loop().create_future()
        await self.queue.put(answered)
        return told(payload, [int(await answered)])

    async def empty(self):
        while True:
            answered = await self.queue.get()
            logging.getLogger("kserve").info("queueing: from the queue")
            answered.set_result(is_warmup())
