"""Send samples through a whole ASGI application without a socket: routing, codecs, validation, model."""

from __future__ import annotations

import time
from typing import Any

import httpx

from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.in_process import WARMUP_HEADER, describe


class AsgiTransport:
    """Calls ``app`` as an HTTP server would, on the running event loop."""

    name = "asgi"

    def __init__(self, app: Any, model: str) -> None:
        """Take the application, and the model's name for the paths."""
        self._model = model
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def send(self, sample: Sample) -> float:
        """Post ``sample`` and return the seconds until its answer was complete."""
        headers = {**sample.headers, WARMUP_HEADER: "true"}
        started = time.perf_counter()
        try:
            response = await self._client.post(sample.path_for(self._model), content=sample.body, headers=headers)
        except httpx.HTTPError as error:
            raise RequestFailedError(describe(error)) from error
        seconds = time.perf_counter() - started
        if not response.is_success:
            raise RequestFailedError(f"HTTP {response.status_code}: {' '.join(response.text.split())[:200]}")
        return seconds

    async def close(self) -> None:
        """Release the client."""
        await self._client.aclose()
