"""Send samples over real HTTP, each on a connection of its own, as a new client does."""

from __future__ import annotations

import time

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.replay import RequestFailedError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.endpoints import WARMUP_HEADER
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch

EVENT_STREAM = "text/event-stream"


class RestTransport:
    """Posts to ``model`` on the server at ``url``: v1, v2, v2 binary and OpenAI requests.

    The latency of a streamed answer is the time to its first byte: how long the rest takes depends on what the model
    has to say. The stream is read to its end all the same.
    """

    name = "rest"

    def __init__(self, url: str, model: str) -> None:
        """Take the server's address, such as ``http://localhost:8000``, and the model's name for the paths.

        Raises:
            WarmupError: the address is none.
        """
        self._address = Address.parse(url)
        self._model = model

    async def send(self, sample: Sample) -> float:
        """Post ``sample`` and return the seconds until its answer was complete, or until a stream's first byte."""
        headers = {**sample.headers, WARMUP_HEADER: "true"}
        try:
            path = sample.path_for(self._model)
        except SampleError as error:
            raise RequestFailedError(str(error)) from error
        started = time.perf_counter()
        try:
            answer = await fetch(self._address, "POST", path, headers, sample.body)
        except ConnectionLostError as error:
            raise RequestFailedError(str(error)) from error
        if not answer.ok:
            raise RequestFailedError(f"HTTP {answer.status}: {answer.text}")
        if not is_stream(answer.headers.get("content-type", "")):
            return answer.end - started
        check_events(answer.body)
        return answer.first_byte - started


def is_stream(content_type: str) -> bool:
    """Return whether an answer of this type is server-sent events."""
    return content_type.partition(";")[0].strip().lower() == EVENT_STREAM


def check_events(body: bytes) -> None:
    """Refuse a stream that tells of an error: its status was sent before the model had a chance to fail.

    Raises:
        RequestFailedError: there is no event, or the first one is an error.
    """
    first = next((line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")), None)
    if first is None:
        raise RequestFailedError("the answer is a stream without a single event")
    try:
        document = orjson.loads(first)
    except orjson.JSONDecodeError:
        return  # such as [DONE], or text
    if isinstance(document, dict) and document.get("error"):
        raise RequestFailedError(
            f"the stream tells of an error: {' '.join(first.decode(errors='replace').split())[:200]}"
        )
