"""Send samples over real HTTP, each on a connection of its own, as a new client does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.replay import RequestFailedError, RequestNotYetError, RequestRefusedError, answered_within
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.endpoints import WARMUP_HEADER
from kserve_warmup.transports.http import Address, Answer, ConnectionLostError, fetch, fetch_now
from kserve_warmup.transports.readiness import HOW_TO_GIVE_HEADERS
from kserve_warmup.transports.token_times import of_stream, of_whole

_NOT_YET = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
)
"""Refusals that the same request may not meet a moment later."""

EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a request: the answer's body, and the latency in seconds, which may be a ``TokenLatency``."""

    body: bytes
    seconds: float


class RestTransport:
    """Posts to ``model`` on the server at ``url``: v1, v2, v2 binary and OpenAI requests.

    The latency of a streamed answer is the time to its first token, and tells the time per token beside it: how long
    the whole takes depends on what the model has to say. The stream is read to its end all the same. ``headers`` go
    with each request beside the sample's own; ``path`` is where all are sent, None: to each one's endpoint.
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
        return _judged(answer, started, sample.verb).seconds

    def prepared(self, sample: Sample) -> Callable[[], Sent]:
        """Return what posts ``sample`` as a client does, unmarked and without an event loop."""
        path, headers = self._head(sample)
        body, verb = sample.body, sample.verb  # the body may have to be read

        def send() -> Sent:
            started = time.perf_counter()
            try:
                answer = fetch_now(self._address, "POST", path, headers, body, seconds=self._timeout)
            except ConnectionLostError as error:
                raise RequestFailedError(str(error)) from error
            return _judged(answer, started, verb)

        return send

    def _head(self, sample: Sample) -> tuple[str, dict[str, str]]:
        try:
            return self._path or sample.path_for(self._model), {**sample.headers, **self._headers}
        except SampleError as error:
            raise RequestFailedError(str(error)) from error


def _judged(answer: Answer, started: float, verb: str) -> Sent:
    if not answer.ok:
        raise _failure(answer)
    if not is_stream(answer.headers.get("content-type", "")):
        if verb == "generate" and (said := _error(answer.body)):  # Triton has sent the status before it knew
            raise RequestRefusedError(f"HTTP {answer.status}: {said}")
        return Sent(answer.body, of_whole(answer, started))
    if answer.body or verb != "generate_stream":  # a decoupled model of Triton's may have nothing to say
        check_events(answer.body)
    return Sent(answer.body, of_stream(answer, started))


def _failure(answer: Answer) -> RequestFailedError:
    """Return what an answer that is no success means: 4xx blames the request."""
    said = f"HTTP {answer.status}: {answer.text}"
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return RequestNotYetError(f"{said}; a header is missing, {HOW_TO_GIVE_HEADERS}")
    if answer.status in _NOT_YET:
        return RequestNotYetError(said)
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
    if said := _error(first):
        raise RequestFailedError(f"the stream tells of an error: {said}")


def _error(document: bytes) -> str:
    """Return in a line the JSON that tells of an error; nothing where it is none, such as [DONE], or text."""
    try:
        found = orjson.loads(document)
    except orjson.JSONDecodeError:
        return ""
    is_error = isinstance(found, dict) and found.get("error")
    return " ".join(document.decode(errors="replace").split())[:200] if is_error else ""
