"""A host that starts one KServe server after another in its process: ``python two_servers.py SAMPLES``."""

import asyncio
import os
import signal
import sys
import threading
import time
import urllib.request

import kserve
from fastapi import FastAPI
from kserve.model_server import args
from predictors import OwnLoad, answer

from kserve_warmup import WarmupSettings

BODY = b'{"instances": [[0.5, 0.0]]}'


class Counting(OwnLoad):
    """Async, so that it is warmed by the server alone."""

    calls = 0

    async def predict(self, payload, headers=None):
        self.calls += 1
        return answer(payload)


def user(name, port):
    """Ask once the model is ready, and end the server."""
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/v2/models/{name}/ready", timeout=5)
            break
        except OSError:
            time.sleep(0.1)
    head = {"content-type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(f"{url}/v1/models/{name}:predict", BODY, head), timeout=30)
    os.kill(os.getpid(), signal.SIGTERM)


def serve(model):
    """Serve until a user was answered."""
    # what KServe itself needs for another server in one process
    asyncio.set_event_loop(asyncio.new_event_loop())
    kserve.model_server.app = FastAPI()
    model.load()
    thread = threading.Thread(target=user, args=(model.name, args.http_port))
    thread.start()
    kserve.ModelServer().start([model])
    thread.join()


def main():
    models = Counting("first"), Counting("second")
    for model in models:
        model.warmup_settings = WarmupSettings(samples=sys.argv[1])
    for model in (*models, models[0]):
        before = [m.calls for m in models]
        serve(model)
        print("CALLS", *(m.calls - b for m, b in zip(models, before, strict=True)))


if __name__ == "__main__":
    main()
