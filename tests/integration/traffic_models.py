"""A model that takes whatever KServe hands on, and tells how often it has had the like before."""

import collections
import gzip
from typing import ClassVar

import kserve
from kserve.model_server import app

from kserve_warmup import WarmupModel


class TakesAnything(WarmupModel):
    seen: ClassVar = collections.Counter()

    def load(self):
        self.ready = True

    def _answer(self, verb, payload, headers):
        kind = f"{verb} {type(payload).__name__} {(headers or {}).get('content-type')}"
        before = self.seen[kind]
        self.seen[kind] += 1
        return {"kind": kind, "before": before, "size": len(payload)}

    def predict(self, payload, headers=None):
        return self._answer("predict", payload, headers)

    async def explain(self, payload, headers=None):
        return self._answer("explain", payload, headers)


class Unzips:
    """What a gateway or a middleware does with compressed bodies."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or dict(scope["headers"]).get(b"content-encoding") != b"gzip":
            await self.app(scope, receive, send)
            return

        async def plain():
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            return {"type": "http.request", "body": gzip.decompress(body), "more_body": False}

        await self.app(scope, plain, send)


if __name__ == "__main__":
    app.add_middleware(Unzips)
    model = TakesAnything("model")
    model.load()
    kserve.ModelServer().start([model])
