"""Questions to a tritonserver's HTTP API, with the limits that every answer has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch_now


def asked(url: str, method: str, path: str, body: Mapping[str, Any] | None, *, seconds: float, refused: str) -> Any:
    """Return the JSON that the server at ``url`` answers with, None if it is nothing.

    Args:
        url: the server's address, with or without ``http://``.
        method: HTTP's.
        path: what to ask.
        body: what to send with it.
        seconds: until the whole answer is there.
        refused: what to say of an answer that is no success; ``{why}`` stands for the server's words.

    Raises:
        WarmupFailedError: it is not there, gives no whole answer in time, refuses, or answers with something else.
    """
    content = None if body is None else json.dumps(body).encode()
    headers = {} if content is None else {"content-type": "application/json"}
    try:
        where = Address.parse(url if "://" in url else f"http://{url}")
        answer = fetch_now(where, method, path, headers, content, seconds=seconds)
        if not answer.ok:
            raise WarmupFailedError(refused.replace("{why}", answer.text))
        return json.loads(answer.body) if answer.body else None
    except ConnectionLostError as error:
        raise WarmupFailedError(f"no answer from {url}: {error}") from None
    except (ValueError, RecursionError):
        raise WarmupFailedError(
            f"{url} answers {path} with what is no JSON, or too long: is it a tritonserver?"
        ) from None
