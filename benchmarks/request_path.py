"""What does a request cost more on a WarmupModel than on a kserve.Model?  python -m benchmarks.request_path

``await model(body)`` on two models that differ in their base class alone, in one process, in alternating blocks, in
processor time of the thread; the ratio is taken pair by pair. The first pairs are left out. Goal: median ratio at most
1.01.

Then whole requests through KServe's application (routing, timing, decoding, model), with and without the watch that
begins when a model is ready, its thread beside it. uvicorn and the socket are not in it.
"""

import asyncio
import statistics
import time
from typing import Any

import kserve

from benchmarks.capture_cost import answering_app, cases, measure
from benchmarks.results import save
from kserve_warmup import WarmupModel, WarmupSettings
from kserve_warmup.capture.capturing import Capture
from kserve_warmup.capture.wiretap import WiretapMiddleware
from kserve_warmup.monitor.warmed_strata import WarmedStrata
from kserve_warmup.monitor.watch import Watch
from kserve_warmup.protocols.bodies import request
from kserve_warmup.samples.sample import Protocol

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


async def watched_requests() -> dict[str, Any]:
    """Return what the watch costs a request of each case, of a stratum that is warm."""
    plain = answering_app()
    found = {}
    for name, case in cases().items():
        path, body, headers, _ = case
        protocol: Protocol = "v2-binary" if path.startswith("/v2") else "v1"
        watch = Watch(Capture())
        watch.begin("m", WarmedStrata([request(protocol, body, headers=headers).stratum]))
        watched = WiretapMiddleware(plain, Capture(), watch)
        found[name] = (await measure(plain, watched, Capture(), case))["path"]
    return found


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
        "watched": await watched_requests(),
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
