"""Samples over REST to this process's own server, which knows models by names that a set may not have."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import quote

import orjson

from kserve_warmup.protocols.json_body import json_bytes, json_object
from kserve_warmup.replay import NoAnswerError, answered_within
from kserve_warmup.samples import Sample
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch
from kserve_warmup.transports.rest import RestTransport

ASK_SECONDS = 5.0
"""Until the server has said whether it knows a name."""


class OwnRest(RestTransport):
    """Sends as :class:`RestTransport` does, OpenAI requests to where KServe answers them and by a name that it knows.

    Their path in KServe has a prefix, which recordings of other servers lack. Their body names the model, as the path
    of other protocols does: a name under which this model is not served is replaced by one under which it is.
    """

    def __init__(
        self, url: str, model: str, timeout: float, headers: Mapping[str, str], asked: Callable[[], bool]
    ) -> None:
        """Take what RestTransport does, and what tells whether the last request asked for the model."""
        super().__init__(url, model, timeout, headers)
        self._own, self._where, self._given = model, Address.parse(url), headers
        self._asked = asked
        self._known: dict[str, bool] = {model: True}

    async def send(self, sample: Sample) -> float:
        """Post ``sample`` as :meth:`RestTransport.send` does."""
        if sample.endpoint.api == "openai":
            sample = await self._at_home(sample)
        return await super().send(sample)

    async def _at_home(self, sample: Sample) -> Sample:
        prefix = openai_prefix()
        if sample.endpoint.prefix != prefix:
            sample = sample.but(path=replace(sample.endpoint, prefix=prefix).template)
        body = sample.body
        document = json_object(body, sample.protocol)
        name = document.get("model")
        if isinstance(name, str) and await self._knows(name):
            return sample
        return sample.but(body=json_bytes({**document, "model": self._own}))

    async def _knows(self, name: str) -> bool:
        """Return whether this server has the model under ``name`` too, such as an adapter's."""
        if name not in self._known:
            self._known[name] = False
            with contextlib.suppress(ConnectionLostError, NoAnswerError, orjson.JSONDecodeError, KeyError, TypeError):
                if name in orjson.loads(await self._get("/v2/models"))["models"]:  # to ask for another fills the log
                    self._asked()
                    await self._get(f"/v1/models/{quote(name, safe='')}")
                    self._known[name] = self._asked()
        return self._known[name]

    async def _get(self, path: str) -> bytes:
        answer = await answered_within(ASK_SECONDS, fetch(self._where, "GET", path, self._given))
        return answer.body


def openai_prefix() -> str:
    """Return what stands before ``/v1/chat/completions`` in this process's server (rest/openai/endpoints.py:37)."""
    prefix = os.environ.get("KSERVE_OPENAI_ROUTE_PREFIX", "/openai")
    return f"/{prefix}" if prefix and not prefix.startswith("/") else prefix
