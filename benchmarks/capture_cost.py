"""What does recording its traffic cost a request?  python -m benchmarks.capture_cost

A request goes through KServe's whole ASGI application (routing, timing, JSON or binary decoding, model) with and
without the wiretap around it, in alternating blocks in one process. Two costs are taken, both in processor time: that
of the thread that answers requests (path), and that of the whole process until all is written (all). uvicorn, the
socket and the access log are not in it, which would make the shares smaller. Goal: on the path at most 1.03.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import kserve
import numpy as np
from kserve.model_repository import ModelRepository
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.model_repository_extension import ModelRepositoryExtension
from kserve.protocol.rest.server import RESTServer

from benchmarks.results import save
from kserve_warmup import WarmupModel, WarmupSettings
from kserve_warmup.capture.capturing import Capture
from kserve_warmup.capture.wiretap import WiretapMiddleware
from kserve_warmup.protocols.bodies import Tensor, encode

PAIRS, WARM_PAIRS = 50, 5
RATES = (WarmupSettings().capture_rate, 1.0)


class Answer(WarmupModel):
    """Does nothing, so that the share is as large as it can get."""

    warmup_settings = WarmupSettings(on_missing_samples="ignore")

    def predict(self, payload: Any, headers: Any = None) -> Any:  # noqa: ARG002
        if isinstance(payload, dict):
            return {"predictions": [1]}
        output = kserve.InferOutput("y", [1], "INT64", [1])
        return kserve.InferResponse(response_id="1", model_name=self.name, infer_outputs=[output])


def cases() -> dict[str, tuple[str, bytes, dict[str, str], int]]:
    image = [Tensor("image", "FP32", np.random.default_rng(0).random((1, 3, 64, 64), np.float32))]
    binary, headers = encode("v2-binary", image)
    json_type = {"content-type": "application/json"}
    row = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
    return {
        "v1, 4 numbers": ("/v1/models/m:predict", row, json_type, 400),
        "v1, 64 x 64 numbers": (
            "/v1/models/m:predict",
            encode("v1", [Tensor("instances", "FP64", np.random.default_rng(0).random((64, 64)))])[0],
            json_type,
            200,
        ),
        "v2 binary, 48 KiB": ("/v2/models/m/infer", binary, headers, 20),
    }


async def call(app: Any, scope: dict[str, Any], body: bytes) -> None:
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await app(dict(scope), receive, send)
    assert status == 200, status


async def measure(plain: Any, tapped: Any, capture: Capture, case: Any) -> dict[str, Any]:
    path, body, headers, calls = case
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8080), "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    path, everything = [], []
    for number in range(PAIRS + WARM_PAIRS):
        taken = {}
        for name, app in (("plain", plain), ("tapped", tapped))[:: 1 if number % 2 else -1]:
            thread, process = time.thread_time_ns(), time.process_time_ns()
            for _ in range(calls):
                await call(app, scope, body)
            thread = time.thread_time_ns() - thread
            capture.flush()
            taken[name] = (thread / calls / 1000, (time.process_time_ns() - process) / calls / 1000)
        if number >= WARM_PAIRS:
            path.append((taken["plain"][0], taken["tapped"][0]))
            everything.append((taken["plain"][1], taken["tapped"][1]))
    return {"body_bytes": len(body), "path": summary(path), "all": summary(everything)}


def summary(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    ratios = sorted(recorded / plain for plain, recorded in pairs)
    return {
        "plain_us": statistics.median(plain for plain, _ in pairs),
        "recorded_us": statistics.median(recorded for _, recorded in pairs),
        "ratio_median": statistics.median(ratios),
        "ratio_quartiles": [ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]],
    }


def answering_app() -> Any:
    """Return KServe's application with the model ``m``, for use within a running loop."""
    model = Answer("m")
    model.load()
    registry = ModelRepository()
    registry.update(model)
    dataplane = DataPlane(model_registry=registry)
    RESTServer("kserve.model_server:app", dataplane, ModelRepositoryExtension(registry), 0).create_application()
    return kserve.model_server.app


async def run() -> dict[str, Any]:
    plain = answering_app()
    results: dict[str, Any] = {"pairs": PAIRS, "goal": 1.03, "cases": {}}
    for rate in RATES:
        for name, case in cases().items():
            with tempfile.TemporaryDirectory() as folder:
                capture = Capture()
                capture.add("m", WarmupSettings(capture_dir=Path(folder), capture_rate=rate))
                found = await measure(plain, WiretapMiddleware(plain, capture), capture, case)
                capture.clear()
            results["cases"][f"{name}, rate {rate:g}"] = found
            shares = " ".join(f"{kind} {found[kind]['ratio_median']:.3f}" for kind in ("path", "all"))
            sys.stderr.write(f"{name}, rate {rate:g}: {shares}\n")
    return results


if __name__ == "__main__":
    save("capture_cost", asyncio.run(run()))
