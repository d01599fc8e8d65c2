"""Whose failure is it? The request's, the model's, or that of something which the model needs and which is away."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

from kserve_warmup.replay import DependencyAwayError, RequestFailedError, RequestRefusedError, describe
from kserve_warmup.transports.grpc import REFUSED_CODES

AWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})
"""What a proxy answers for a predictor that is not there."""

_AWAY_BY_NAME = frozenset(
    {
        *("ConnectError", "ConnectTimeout", "ClientConnectorError", "NewConnectionError", "gaierror"),
        *("ReadError", "WriteError", "RemoteProtocolError", "ServerDisconnectedError", "RemoteDisconnected"),
    }
)
"""What clients raise when nobody listens, or whoever does goes away before it has answered.

Those of httpx, aiohttp, urllib3 and the resolver; none of them need be installed.
"""


def failure(error: BaseException) -> RequestFailedError:
    """Return what an exception of a model's own code means for the request that met it."""
    if isinstance(error, RequestFailedError):
        return error
    for one in _chain(error):
        if _is_away(one):
            return DependencyAwayError(describe(error))
    return RequestRefusedError(describe(error)) if _refuses(error) else RequestFailedError(describe(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _is_away(error: BaseException) -> bool:
    if isinstance(error, ConnectionRefusedError) or type(error).__name__ in _AWAY_BY_NAME:
        return True
    return _status(error) in AWAY or _code(error) == "UNAVAILABLE"


def _refuses(error: BaseException) -> bool:
    """Return whether the request is at fault: InvalidInput, a 4xx, or what a predictor said to its transformer."""
    from kserve.errors import InvalidInput

    status = _status(error)
    client_error = status is not None and 400 <= status < 500  # noqa: PLR2004
    return isinstance(error, InvalidInput) or client_error or _code(error) in REFUSED_CODES


def _status(error: BaseException) -> int | None:
    """Return the HTTP status in an exception of FastAPI (``status_code``) or httpx (``response.status_code``).

    KServe's OpenAIError has it as text, in the answer that it makes (``response.error.code``).
    """
    response = getattr(error, "response", None)
    for holder in (error, response):
        status: Any = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    code: Any = getattr(getattr(response, "error", None), "code", None)
    return int(code) if isinstance(code, str) and code.isdecimal() else None


def _code(error: BaseException) -> str | None:
    """Return the name of the gRPC status in an exception, None in others."""
    code = getattr(error, "code", None)
    found: Any = code() if callable(code) and hasattr(error, "details") else None
    return getattr(found, "name", None)
