"""What a gate is asked for, checked: of what it imports nothing is needed by the gate itself."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.gate.gate_plan import GateSettings, ModelSamples, Plan
from kserve_warmup.gate.haproxy import find
from kserve_warmup.protocols.codec import over_grpc
from kserve_warmup.samples.sets import open_sets
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.transports.endpoints import ready_path
from kserve_warmup.transports.http import addresses


def checked(
    url: str,
    samples: Path,
    *,
    model: str | None = None,
    grpc: str | None = None,
    host: str | None = None,
    port: int = 0,
    traffic: bool = False,
    proxy: int | None = None,
    **settings: Any,
) -> Plan:
    """Return what a gate has to do that is asked to guard ``url``; nothing is sent.

    ``settings`` override the environment's; all else is as ``kserve-warmup gate`` has it.

    Raises:
        WarmupError: the URL, the samples or a setting cannot be used, or a proxy is asked for and cannot be had.
    """
    given = WarmupSettings(**settings)
    given.headers.read()  # a file that is missing shows at once
    sets = tuple(ModelSamples(s.model, s.samples) for s in open_sets(samples, model))
    http_url, grpc_address = addresses(url, grpc)
    mixed = [s.model for s in sets if not all(map(over_grpc, s))]
    if http_url is None and mixed:
        raise WarmupError(f"{mixed[0]} has REST samples: give the server's http:// address, and --grpc for gRPC")
    if proxy is not None:
        _can_be_proxied(url, proxy, port)
    for of_model in sets:
        ready_path(of_model, of_model.model)
    heeded = GateSettings(**{f.name: getattr(given, f.name) for f in fields(GateSettings)})
    return Plan(url, http_url, grpc_address, host, port, heeded, sets, traffic, proxy)


def _can_be_proxied(url: str, proxy: int, port: int) -> None:
    if url.startswith("https://"):
        raise WarmupError("--proxy speaks to the server without TLS: give its http:// or grpc:// address")
    if proxy == port != 0:
        raise WarmupError(f"--proxy and --port are both {port}: users and the gate's own pages need a port each")
    find()
