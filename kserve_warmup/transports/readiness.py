"""Whether a server is ready, read from its answers, and in words why not: the same to whoever asks, gate or verifier.

It asks nothing itself: :func:`readiness` says what to ask and is told the answers, so that both ways of asking, over
asyncio and without, share it.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from kserve_warmup.printable import printable
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.exchange import Answer

Question = tuple[str, str]
"""HTTP's method and path."""

LISTS: tuple[Question, ...] = (("GET", "/v1/models"), ("GET", "/v2/models"), ("POST", "/v2/repository/index"))
"""Where KServe and OpenAI's kin, KServe's v2 and Triton say which models there are."""

HOW_TO_GIVE_HEADERS = (
    "and recorded ones are not kept: give it with KSERVE_WARMUP_HEADERS in a server, --header with gate and verify"
)

NO_KEY = "the server lets nobody in without a header that is missing or wrong"

_NO_MODEL = "the server has no model {!r}"

_OF_MODELS = "/models"
"""In every path that asks for a model, and in no other such as ``/ready`` or ``/health``."""

_MOST_NAMES = 20

_CODE = re.compile(r"gRPC ([A-Z_]+)")


@dataclass(frozen=True, slots=True)
class NotReady:
    """``reason`` is what anybody may know of it; ``said``, which may quote the server, is for its operator."""

    reason: str
    said: str

    def __str__(self) -> str:
        """Return both."""
        return f"{self.reason}: {self.said}" if self.said else self.reason


def readiness(path: str, model: str) -> Generator[Question, Answer, NotReady | None]:
    """Yield what to ask of a server whose readiness of ``model`` stands at ``path``; return why it is not ready."""
    answer = yield "GET", path
    said = f"HTTP {answer.status} {answer.text}".strip()
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return NotReady(NO_KEY, f"{said}; a header is missing, {HOW_TO_GIVE_HEADERS}")
    if answer.status == HTTPStatus.NOT_FOUND and _OF_MODELS in path:
        for question in LISTS:
            if names := model_names((yield question)):
                return _no_such(path, model, names)
        way = "behind a gateway, give the host that routes to it with --header 'host: NAME'"
        return NotReady(_NO_MODEL.format(model), f"{said} at {path}; {way}")
    return _state(answer, model) if answer.ok else NotReady(f"{model} is not ready", said)


def _no_such(path: str, model: str, names: Sequence[str]) -> NotReady:
    if model in names:
        said = f"HTTP 404 at {path}, though the server lists it: it may speak another protocol than the samples"
        return NotReady(f"{model} is not ready", said)
    told = ", ".join(printable(name)[:80] for name in names[:_MOST_NAMES])
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return NotReady(_NO_MODEL.format(model), f"the server has {told}{more}; HTTP 404 at {path}")


def grpc_not_ready(model: str, said: str, otherwise: str) -> NotReady:
    """Return why a gRPC server that answered with an error, as ``said`` tells it, is not ready.

    ``otherwise`` is the reason where the error's code tells none.
    """
    found = _CODE.match(said)
    code = found[1] if found else ""
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return NotReady(NO_KEY, said)
    if code == "NOT_FOUND":
        return NotReady(_NO_MODEL.format(model), said)
    if code == "UNIMPLEMENTED":
        return NotReady("what answers there is no inference server", said)
    return NotReady(otherwise, said)


def lists_only(samples: Iterable[Sample]) -> bool:
    """Return whether the server's word on its readiness is a list of models.

    OpenAI's kin have no other. Front ends and proxies answer it long before an engine is up: what is taken for ready is
    an answer to a request.
    """
    first = next((sample for sample in samples if sample.protocol != "grpc"), None)
    return first is not None and first.endpoint.api == "openai"


def model_names(answer: Answer) -> list[str]:
    """Return the models that a server lists, in the form of KServe, Triton or OpenAI."""
    found = _json(answer)
    if isinstance(found, Mapping):
        found = found.get("models") or found.get("data")
    if not answer.ok or not isinstance(found, list):
        return []
    names = [one.get("name") or one.get("id") if isinstance(one, Mapping) else one for one in found]
    return [name for name in names if isinstance(name, str) and name]


def _state(answer: Answer, model: str) -> NotReady | None:
    """Return what an answer of success says all the same: a server may be there before its model is.

    TensorFlow Serving tells each version's state in it, and says 200 while it loads; some say ``"ready": false``.
    """
    found = _json(answer)
    if not isinstance(found, Mapping):
        return None
    versions = found.get("model_version_status")
    if isinstance(versions, list):
        states = [_of_version(one) for one in versions if isinstance(one, Mapping)]
        if not any(state == "AVAILABLE" for state, _ in states):
            told = "; ".join(text for _, text in states) or "no version"
            return NotReady(f"{model} is not ready", f"its state is {told}, and not AVAILABLE")
    elif "ready" in found and str(found["ready"]).lower() == "false":
        return NotReady(f"{model} is not ready", f"HTTP {answer.status} {answer.text}")
    return None


def _of_version(status: Mapping[str, Any]) -> tuple[str, str]:
    """Return a version's state, and in words its name, state and error."""
    state = str(status.get("state", "")).upper()
    error = status.get("status")
    message = error.get("error_message") if isinstance(error, Mapping) else None
    why = f" ({printable(str(message))[:200]})" if message else ""
    return state, f"{printable(state)[:40]} for version {printable(str(status.get('version', '?')))[:40]}{why}"


def _json(answer: Answer) -> Any:
    try:
        return orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
