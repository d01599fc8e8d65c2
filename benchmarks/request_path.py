"""What does a request cost more on a WarmupModel than on a kserve.Model?  python -m benchmarks.request_path

``await model(body)`` on two models that differ in their base class alone, in one process, in alternating blocks, in
processor time of the thread; the ratio is taken pair by pair. The first pairs are left out. Goal: median ratio at most
1.01. Then the same through KServe's REST application, with and without the middleware that watches a model which is
ready: a small body and one of 4 MB; the thread of the watch runs beside it.
"""

import asyncio
import statistics
import time
from typing import Any

import kserve

from benchmarks.results import save
from kserve_warmup import WarmupModel, WarmupSettings

PAIRS, WARM_PAIRS, CALLS = 400, 50, 250
BODY = {"instances": [[0.5, 1.0]]}


def predict(_self: Any, payload: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:  # noqa: ARG001
    return {"predictions": payload["instances"]}


Plain = type("Plain", (kserve.Model,), {"predict": predict})
Warm = type("Warm", (WarmupModel,), {"predict": predict})


async def block(model: Any) -> float:
    started = time.thread_time_ns()
    for _ in range(CALLS):
        await model(BODY)
    return (time.thread_time_ns() - started) / CALLS / 1000


async def request(app: Any, body: bytes) -> None:
    """Pass one request to an ASGI application, its body in pieces of 64 KB as uvicorn gives it."""
    pieces = [body[i : i + CHUNK] for i in range(0, len(body), CHUNK)]
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces[:-1]]
    messages.append({"type": "http.request", "body": pieces[-1], "more_body": False})
    waiting = iter(messages)
    statuses = []

    async def receive() -> Any:
        return next(waiting)

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    path = f"/v1/models/{REST_NAME}:predict"
    common = {"scheme": "http", "query_string": b"", "root_path": "", "server": ("localhost", 80), "client": ("a", 1)}
    await app({"type": "http", "method": "POST", "path": path, "headers": headers, "http_version": "1.1", **common},
              receive, send)
    if statuses[0] != HTTP_OK:
        raise RuntimeError(f"status {statuses[0]}")


async def rest(body: bytes) -> dict[str, Any]:
    """Compare KServe's application without and with the watch; microseconds of processor time, and their ratio."""
    model = Plain(REST_NAME)
    model.load()
    repository = kserve.ModelRepository()
    repository.update(model)
    app = FastAPI()
    REST(app, DataPlane(repository), ModelRepositoryExtension(repository)).create_application()
    watch = Watch(Capture())
    watch.begin(REST_NAME, WarmedStrata([protocol_request("v1", body).stratum]))
    watched = WiretapMiddleware(app, Capture(), watch)
    calls = SMALL_CALLS if len(body) < CHUNK else 1
    pairs = []
    for number in range(PAIRS + WARM_PAIRS):
        times = {}
        for target in (app, watched) if number % 2 else (watched, app):
            started = time.thread_time_ns()
            for _ in range(calls):
                await request(target, body)
            times[target] = (time.thread_time_ns() - started) / calls / 1000
        pairs.append((times[app], times[watched]))
    pairs = pairs[WARM_PAIRS:]
    return {
        "application_us": statistics.median(plain for plain, _ in pairs),
        "watched_us": statistics.median(watched for _, watched in pairs),
        "ratio_median": statistics.median(watched / plain for plain, watched in pairs),
        "body_bytes": len(body),
    }


async def run() -> dict[str, Any]:
    plain, warm = Plain("plain"), Warm("warm")
    warm.warmup_settings = WarmupSettings(on_missing_samples="ignore")
    for model in (plain, warm):
        model.load()
    pairs = []
    for number in range(PAIRS + WARM_PAIRS):
        order = (plain, warm) if number % 2 else (warm, plain)
        times = {model.name: await block(model) for model in order}
        pairs.append((times["plain"], times["warm"]))
    pairs = pairs[WARM_PAIRS:]
    ratios = sorted(warm / plain for plain, warm in pairs)
    return {
        "rest": {name: await rest(body) for name, body in BODIES.items()},
        "kserve_model_us": statistics.median(plain for plain, _ in pairs),
        "warmup_model_us": statistics.median(warm for _, warm in pairs),
        "ratio_median": statistics.median(ratios),
        "ratio_quartiles": [ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]],
        "pairs": PAIRS,
        "calls_a_block": CALLS,
        "goal": 1.01,
    }


if __name__ == "__main__":
    save("request_path", asyncio.run(run()))
