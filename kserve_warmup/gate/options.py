"""What a gate is asked for, checked: of what it imports nothing is needed by the gate itself."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.gate.gate_plan import GateSettings, ModelSamples, Plan
from kserve_warmup.gate.haproxy import find
from kserve_warmup.protocols.answer_length import with_fewer_tokens
from kserve_warmup.protocols.codec import over_grpc
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.sets import open_sets
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.transports.endpoints import OwnPaths, ready_path
from kserve_warmup.transports.http import GRPC_TLS_SCHEME, addresses

MOST_AT_ONCE = 256
"""Requests: what is more is a load test."""


def checked(
    url: str,
    samples: Path,
    *,
    model: str | None = None,
    grpc: str | None = None,
    host: str | None = None,
    port: int = 0,
    traffic: bool = False,
    path: str | None = None,
    ready: str | None = None,
    concurrency: tuple[int, ...] | None = None,
    max_tokens: int | None = None,
    proxy: int | None = None,
    **settings: Any,
) -> Plan:
    """Return what a gate has to do that is asked to guard ``url``; nothing is sent.

    ``settings`` override the environment's; all else is as ``kserve-warmup gate`` has it. ``max_tokens``: what answers
    are cut to, None leaves every request as it was recorded.

    Raises:
        WarmupError: the URL, the samples or a setting cannot be used, or a proxy is asked for and cannot be had.
    """
    paths = OwnPaths(path, ready)
    paths.check_ready()
    given = WarmupSettings(**settings)
    given.headers.read()  # a file that is missing shows at once
    given.tls.check()
    levels = _levels(concurrency)
    sets = tuple(ModelSamples(s.model, _cut(s.samples, max_tokens)) for s in open_sets(samples, model))
    http_url, grpc_address = addresses(url, grpc)
    mixed = [s.model for s in sets if not all(map(over_grpc, s))]
    if http_url is None and mixed:
        raise WarmupError(f"{mixed[0]} has REST samples: give the server's http:// address, and --grpc for gRPC")
    if proxy is not None:
        _can_be_proxied(url, grpc, proxy, port)
    for of_model in sets:
        ready_path(of_model, of_model.model)
        paths.path_for(of_model.model), paths.ready_for(of_model.model)
    heeded = GateSettings(**{f.name: getattr(given, f.name) for f in fields(GateSettings)})
    host = host and host.removeprefix("[").removesuffix("]")
    return Plan(url, http_url, grpc_address, host, port, heeded, sets, traffic, paths, levels, proxy)


def _can_be_proxied(url: str, grpc: str | None, proxy: int, port: int) -> None:
    if any(address.startswith(("https://", GRPC_TLS_SCHEME)) for address in (url, grpc or "")):
        raise WarmupError("--proxy speaks to the server without TLS: give its http:// or grpc:// address")
    if proxy == port != 0:
        raise WarmupError(f"--proxy and --port are both {port}: users and the gate's own pages need a port each")
    find()


def _levels(concurrency: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """Return how many requests at once there are to be after single ones, in rising order; None: as batchers need it.

    Raises:
        WarmupError: it is no number of requests that a gate sends at once.
    """
    if concurrency is None:
        return None
    if wrong := [size for size in concurrency if not 1 <= size <= MOST_AT_ONCE]:
        raise WarmupError(f"--concurrency {wrong[0]}: give numbers from 1 to {MOST_AT_ONCE}, such as 1,8")
    return tuple(sorted({*concurrency} - {1}))


def _cut(samples: tuple[Sample, ...], tokens: int | None) -> tuple[Sample, ...]:
    return samples if tokens is None else tuple(with_fewer_tokens(sample, tokens) for sample in samples)
