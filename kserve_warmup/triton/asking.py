"""Questions to a tritonserver's HTTP API, with the limits that every answer has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.transports.exchange import Answer
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch_now


def asked(url: str, method: str, path: str, body: Mapping[str, Any] | None, seconds: float) -> Answer:
    """Return what the server at ``url`` answers.

    Raises:
        WarmupFailedError: it is not there, or gives no whole answer within ``seconds``.
    """
    address = Address.parse(url if "://" in url else f"http://{url}")
    content = None if body is None else json.dumps(body).encode()
    headers = {} if content is None else {"content-type": "application/json"}
    try:
        return fetch_now(address, method, path, headers, content, seconds=seconds)
    except ConnectionLostError as error:
        raise WarmupFailedError(f"no answer from {url}: {error}") from None


def document(answer: Answer, url: str, path: str) -> Any:
    """Return the JSON in an answer.

    Raises:
        WarmupFailedError: it is none, or was too long to be kept.
    """
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise WarmupFailedError(
            f"{url} answers {path} with what is no JSON, or too long: is it a tritonserver?"
        ) from None
