"""Models as people write them, each of which relies on something that ``kserve.Model`` gives.

Run as ``python case_models.py CLASS[,CLASS]``; CONTROL=1 makes them plain models of KServe's, as a control.
"""

import asyncio
import os
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path

import httpx
import kserve
from case_requests import *  # noqa: F403 - any of them may be named on the command line
from case_requests import STARTED, Case, HangingMiddleware, ask_for_key
from kserve.model_server import app
from predictors import Reloading, answer

KIND = os.environ.get("KIND", "")
BY_EVENT = {}
PER_THREAD = threading.local()


def gate_is_open():
    return Path(os.environ["GATE"]).exists()


# --- What belongs to the thread or the loop that serves ---------------------------------------------------------------


class LazySqlite(Case):
    """Connects with the first request; a connection belongs to the thread that made it."""

    db = None

    def predict(self, payload, headers=None):
        if self.db is None:
            self.db = sqlite3.connect(":memory:")
        self.db.execute("select 1")
        return answer(payload)


class DeclaredSqlite(LazySqlite):
    def get_input_types(self):
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]


class LazyTask(Case):
    """Answers how many payloads a background task, made with the first request, has written, and how many wait."""

    written, task = 0, None

    def predict(self, payload, headers=None):
        if self.task is None:
            self.queue = asyncio.Queue()
            self.task = asyncio.get_running_loop().create_task(self._write())
        self.queue.put_nowait(payload)
        return {"predictions": [[self.written, self.queue.qsize()]]}

    async def _write(self):
        while True:
            await self.queue.get()
            self.written += 1


class LazyLoop(Case):
    """Keeps the loop that it finds with the first request, as old libraries do."""

    loop = None

    def predict(self, payload, headers=None):
        self.loop = self.loop or asyncio.get_event_loop()
        assert self.loop.is_running(), "the loop that was kept is not the one that serves"
        return answer(payload)


class FallsBackToItsOwnLoop(Case):
    loop = None

    def predict(self, payload, headers=None):
        if self.loop is None:
            try:
                self.loop = asyncio.get_running_loop()
            except RuntimeError:
                self.loop = asyncio.new_event_loop()
        assert self.loop.is_running(), "the loop that was kept is not the one that serves"
        return answer(payload)


class SetsSignals(Case):
    """What only the main thread may do."""

    def predict(self, payload, headers=None):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        return answer(payload)


class LoadsSqlite(Case):
    def load(self):
        self.db = sqlite3.connect(":memory:")
        return super().load()

    def predict(self, payload, headers=None):
        self.db.execute("select 1")
        return answer(payload)


class SetsForItsThread(Case):
    """As libraries keep their settings."""

    def load(self):
        PER_THREAD.scale = 2
        return super().load()

    def predict(self, payload, headers=None):
        assert PER_THREAD.scale == 2
        return answer(payload)


class Holds(Case):
    """Has locks and a client of httpx's from its constructor or from its load, and lets requests contend for them."""

    def __init__(self, name):
        super().__init__(name)
        if KIND == "init":
            self._make()

    def load(self):
        if KIND == "load":
            self._make()
        return super().load()

    def _make(self):
        self.lock, self.plain, self.client = asyncio.Lock(), threading.Lock(), httpx.AsyncClient()

    async def predict(self, payload, headers=None):
        async def one():
            async with self.lock:
                await asyncio.sleep(0)

        await asyncio.gather(one(), one(), one())
        with self.plain:
            (await self.client.get(os.environ["BACKEND"])).raise_for_status()
        return answer(payload)


# --- What is there only after load() ----------------------------------------------------------------------------------


class NeedsStartUp(Case):
    def predict(self, payload, headers=None):
        return {"predictions": [[BY_EVENT["scale"], *answer(payload)["predictions"][0]]]}


class NeedsMain(Case):
    """What ``__main__`` sets between load() and start()."""

    def predict(self, payload, headers=None):
        return {"predictions": [[self.after_load, *answer(payload)["predictions"][0]]]}


class Engine(Case):
    """Its engine is up once a file is there; the class body hides the properties of our own."""

    ready: bool = False
    engine: bool = True

    def load(self):
        self.engine = True
        return super().load()

    async def start_engine(self):
        while not gate_is_open():  # noqa: ASYNC110 - a file tells no event
            await asyncio.sleep(0.05)
        self.client = sum
        if KIND == "super":
            await super().start_engine()
        if KIND == "runs on":
            await asyncio.Event().wait()

    async def predict(self, payload, headers=None):
        assert self.client([1, 2]) == 3
        return answer(payload)


class OwnStart(Case):
    def start(self):
        self.started = True
        if KIND == "super":
            super().start()

    def predict(self, payload, headers=None):
        assert self.started
        return answer(payload)


class OwnHealthy(Case):
    async def healthy(self):
        if KIND == "super" and not await super().healthy():
            return False
        return gate_is_open()


class ReadyInBody(Case):
    ready: bool = False


class Transformer(Case):
    """Starts ready, and asks a predictor elsewhere."""

    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    predict = kserve.Model.predict

    def preprocess(self, payload, headers=None):
        return payload


class TransformerBehindGate(Transformer):
    """Prepares nothing before a file is there."""

    async def preprocess(self, payload, headers=None):
        while not gate_is_open():  # noqa: ASYNC110 - a file tells no event
            await asyncio.sleep(0.05)
        return payload


class Inner(Case):
    """A component that no server registers."""


class Outer(Case):
    def __init__(self, name):
        super().__init__(name)
        self.inner = Inner("inner")

    def load(self):
        self.inner.load()
        return super().load()

    async def predict(self, payload, headers=None):
        answered, _ = await self.inner(payload, headers)
        return answered


class SlowPlain(Case):
    def predict(self, payload, headers=None):
        time.sleep(0.3)
        return answer(payload)


class MadeWhenAsked(Case):
    async def predict(self, payload, headers=None):
        return answer(payload)


class MadeWhenAskedPlain(Case):
    pass


class Making(Reloading):
    """Makes a model that it does not have."""

    async def load(self, name):
        if self.get_model(name):
            return await super().load(name)
        model = globals()[os.environ["MAKES"]](name)
        model.load()
        self.update(model)
        return model.ready


@app.on_event("startup")
async def _started():
    BY_EVENT["scale"] = 10
    STARTED.set()


def main():
    names = [name for name in sys.argv[1].split(",") if name != "-"]
    if "Keyed" in names:
        app.middleware("http")(ask_for_key)
    if "NeverAnswersPosts" in names:
        app.add_middleware(HangingMiddleware)
    models = []
    for name in names:
        models.append(globals()[name](name.lower() if len(names) > 1 else "model"))
        if not models[-1].ready:
            models[-1].load()
        models[-1].after_load = 5
    server = kserve.ModelServer(registered_models=Making())
    if alias := os.environ.get("ALIAS"):
        server.register_model(models.pop(), alias)
    server.start(models)


if __name__ == "__main__":
    os.environ.setdefault("RELOADS", "loop")
    main()
