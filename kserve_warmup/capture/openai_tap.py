"""OpenAI requests on their way into a model of KServe's, which their path does not name: handed to its recorder."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from functools import partial
from typing import Any

from kserve_warmup.capture.capturing import Capture
from kserve_warmup.sampling.formats.record import Record


async def recorded_openai(answer: Awaitable[Any], model: str, raw_request: Any, capture: Capture) -> Any:
    """Return a model's answer; the request is recorded if it is drawn and the answer, or a stream's begin, no error."""
    recorder = capture.get(model)
    if recorder is None or not recorder.wanted():
        return await answer
    found = await answer
    if getattr(found, "error", None) is None:
        body, headers = await raw_request.body(), dict(raw_request.headers)  # which FastAPI has read, and keeps
        path = raw_request.scope["path"]
        recorder.offer_later(len(body), partial(Record, "", 0, body, headers, path, "openai", 200, time.time()))
    return found
