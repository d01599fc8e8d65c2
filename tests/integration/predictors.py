"""Small models whose answers tell how warm they were: how often this process had predicted before."""

import asyncio
import itertools
import os
import sys
import threading
import time

import kserve
import numpy as np
from kserve import InferOutput, InferResponse
from kserve.errors import InvalidInput

from kserve_warmup import WarmupModel

_calls = itertools.count()


def answer(payload):
    """Count the call; answer in the protocol of the request."""
    values = [next(_calls), os.getpid()]
    if isinstance(payload, dict):
        return {"predictions": [values for _ in payload["instances"]]}
    output = InferOutput("calls", [2], "INT64")
    output.set_data_from_numpy(np.array(values, dtype=np.int64), binary_data=False)
    return InferResponse(response_id=payload.id or "none", model_name=payload.model_name, infer_outputs=[output])


class OwnLoad(WarmupModel):
    """A model as people have them: load() sets ready."""

    def load(self):
        self.session = threading.Lock()  # cannot be pickled, as ONNX Runtime's and torch's sessions cannot
        self.ready = True
        return self.ready

    def predict(self, payload, headers=None):
        with self.session:
            return answer(payload)


class LoadModel(WarmupModel):
    def load_model(self):
        self.session = threading.Lock()

    predict = OwnLoad.predict


class LoadsInInit(WarmupModel):
    def __init__(self, name):
        super().__init__(name)
        self.load()
        self.scale = 1  # made after load(): the warm-up must not run before this line

    def load(self):
        self.ready = True
        return True

    def predict(self, payload, headers=None):
        assert self.scale
        return answer(payload)


class LazyAsyncClient(WarmupModel):
    """Creates a loop-bound thing on first use, as people create httpx and aiohttp clients."""

    client = None

    async def predict(self, payload, headers=None):
        if self.client is None:
            self.client = asyncio.get_running_loop()
        assert self.client is asyncio.get_running_loop(), "the client belongs to another event loop"
        return answer(payload)


class AsyncLoadModel(LazyAsyncClient):
    async def load_model(self):
        self.client = asyncio.get_running_loop()


class Generator(WarmupModel):
    async def predict(self, payload, headers=None):
        values = answer(payload)["predictions"][0]

        async def stream():
            yield f'{{"predictions": [{values}]}}'

        return stream()


class ResponseHeaders(WarmupModel):
    def __init__(self, name):
        super().__init__(name, return_response_headers=True)

    def predict(self, payload, headers=None, response_headers=None):
        response_headers["x-warm"] = headers.get("x-kserve-warmup", "false")
        return answer(payload)


class SlowLoad(OwnLoad):
    def load(self):
        print(f"loading {os.getpid()}\n", end="", flush=True)  # one write: workers load at the same moment
        time.sleep(float(os.environ.get("LOAD_SECONDS", "20")))
        return super().load()


class SlowPredict(OwnLoad):
    def predict(self, payload, headers=None):
        print("predicting", flush=True)
        time.sleep(0.3)
        return super().predict(payload, headers)


class SlowAsyncPredict(OwnLoad):
    async def predict(self, payload, headers=None):
        await asyncio.sleep(0.3)
        return answer(payload)


class CompilesPerBatch(OwnLoad):
    """As a compiler does: the first request of each batch size takes a second, all others 20 ms."""

    def predict(self, payload, headers=None):
        rows = len(payload["instances"])
        time.sleep(0.02 if rows in compiled else 1)
        compiled.add(rows)
        return super().predict(payload, headers)


compiled = set()


class Declared(OwnLoad):
    def get_input_types(self):
        return [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]


class Hangs(OwnLoad):
    def predict(self, payload, headers=None):
        if len(payload["instances"]) > 1:
            time.sleep(3600)
        return super().predict(payload, headers)


class Fails(OwnLoad):
    def predict(self, payload, headers=None):
        raise ValueError("this model has no weights")


class TakesOneRow(OwnLoad):
    """Says 400 to requests of more rows than one."""

    def predict(self, payload, headers=None):
        if len(payload["instances"]) > 1:
            raise InvalidInput("one row at a time")
        return super().predict(payload, headers)


class Plain(kserve.Model):
    """The same without warm-up, as a control."""

    load = OwnLoad.__dict__["load"].__wrapped__

    def predict(self, payload, headers=None):
        with self.session:
            return answer(payload)


class Reloading(kserve.ModelRepository):
    """Answers KServe's load endpoint, on the loop or from a thread, as the environment says."""

    async def load(self, name):
        load = self.get_model(name).load
        return await asyncio.to_thread(load) if os.environ["RELOADS"] == "thread" else load()


class BlocksTheLoop(OwnLoad):
    async def predict(self, payload, headers=None):
        time.sleep(3600)  # noqa: ASYNC251 - the mistake that the test is about


class FailsWhenReloaded(LazyAsyncClient):
    loads = 0

    def load(self):
        self.loads += 1
        self.ready = True
        return True

    async def predict(self, payload, headers=None):
        assert self.loads < 2, "the new weights are broken"
        return answer(payload)


if __name__ == "__main__":
    models = []
    for number, name in enumerate(sys.argv[1].split(",")):
        model = globals()[name](name.lower() if number or "," in sys.argv[1] else "model")
        if not model.ready:
            model.load()
        models.append(model)
    kserve.ModelServer(registered_models=Reloading()).start(models)
