"""Send samples over real HTTP, each on a connection of its own, as a new client does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.replay import RequestFailedError, RequestRefusedError, answered_within
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.endpoints import WARMUP_HEADER
from kserve_warmup.transports.http import Address, Answer, ConnectionLostError, fetch, fetch_now

EVENT_STREAM = "text/event-stream"

HOW_TO_GIVE_HEADERS = (
    "and recorded ones are not kept: give it with KSERVE_WARMUP_HEADERS in a server, --header with gate and verify"
)


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a request: the answer's body, and the latency in seconds."""

    body: bytes
    seconds: float


class RestTransport:
    """Posts to ``model`` on the server at ``url``: v1, v2, v2 binary and OpenAI requests.

    The latency of a streamed answer is the time to its first byte: how long the rest takes depends on what the model
    has to say. The stream is read to its end all the same. ``headers`` go with each request beside the sample's own;
    ``path`` is where all are sent, None: to each one's endpoint.
    """

    name = "rest"

    def __init__(
        self,
        url: str,
        model: str,
        timeout: float,
        headers: Mapping[str, str] = MappingProxyType({}),
        path: str | None = None,
    ) -> None:
        """Take where to send; a request counts as never answered after ``timeout`` seconds.

        Raises:
            WarmupError: ``url`` is no HTTP address.
        """
        self._address = Address.parse(url)
        self._model, self._timeout, self._headers, self._path = model, timeout, headers, path

    async def send(self, sample: Sample) -> float:
        """Post ``sample``, marked as a warm-up request, and return the seconds of its latency."""
        path, headers = self._head(sample)
        body = sample.body  # which may have to be read
        started = time.perf_counter()
        try:
            posting = fetch(self._address, "POST", path, {**headers, WARMUP_HEADER: "true"}, body)
            answer = await answered_within(self._timeout, posting)
        except ConnectionLostError as error:
            raise RequestFailedError(str(error)) from error
        return _judged(answer, started).seconds

    def prepared(self, sample: Sample) -> Callable[[], Sent]:
        """Return what posts ``sample`` as a client does, unmarked and without an event loop."""
        path, headers = self._head(sample)
        body = sample.body  # which may have to be read

        def send() -> Sent:
            started = time.perf_counter()
            try:
                answer = fetch_now(self._address, "POST", path, headers, body, seconds=self._timeout)
            except ConnectionLostError as error:
                raise RequestFailedError(str(error)) from error
            return _judged(answer, started)

        return send

    def _head(self, sample: Sample) -> tuple[str, dict[str, str]]:
        try:
            return self._path or sample.path_for(self._model), {**sample.headers, **self._headers}
        except SampleError as error:
            raise RequestFailedError(str(error)) from error


def _judged(answer: Answer, started: float) -> Sent:
    if not answer.ok:
        raise _failure(answer)
    if not is_stream(answer.headers.get("content-type", "")):
        return Sent(answer.body, answer.end - started)
    check_events(answer.body)
    return Sent(answer.body, answer.first_byte - started)


def _failure(answer: Answer) -> RequestFailedError:
    """Return what an answer that is no success means: 4xx blames the request."""
    said = f"HTTP {answer.status}: {answer.text}"
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return RequestRefusedError(f"{said}; a header is missing, {HOW_TO_GIVE_HEADERS}")
    return (RequestRefusedError if answer.refused else RequestFailedError)(said)


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
