"""What a gate is asked for, checked: of what it imports nothing is needed by the gate itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.gate.main import main
from kserve_warmup.gate.plan import GateSettings, ModelSamples, Plan, become
from kserve_warmup.samples.sets import open_sets
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.signals import ends_at_once
from kserve_warmup.transports.endpoints import ready_path
from kserve_warmup.transports.http import addresses


@dataclass(frozen=True, slots=True)
class Options:
    """What to guard, with which samples, and where to answer; ``settings`` override the environment's."""

    url: str
    samples: Path
    model: str | None = None
    grpc: str | None = None
    host: str | None = None
    port: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    def plan(self) -> Plan:
        """Return what the gate has to do; nothing is sent.

        Raises:
            WarmupError: the URL, the samples or a setting cannot be used.
        """
        settings = WarmupSettings(**self.settings)
        settings.headers.read()  # a file that is missing shows at once
        sets = tuple(ModelSamples(s.model, s.samples) for s in open_sets(self.samples, self.model))
        http_url, grpc_address = addresses(self.url, self.grpc)
        mixed = [s.model for s in sets if any(sample.protocol != "grpc" for sample in s)]
        if http_url is None and mixed:
            raise WarmupError(f"{mixed[0]} has REST samples: give the server's http:// address, and --grpc for gRPC")
        for samples in sets:
            ready_path(samples, samples.model)
        heeded = GateSettings(**{f.name: getattr(settings, f.name) for f in fields(GateSettings)})
        return Plan(self.url, http_url, grpc_address, self.host, self.port, heeded, sets)


def run(options: Options) -> None:
    """Be the gate until SIGTERM or SIGINT.

    Raises:
        WarmupError: the URL, the samples or a setting cannot be used.
    """
    with ends_at_once():  # nothing but SIGKILL would reach a container's first process otherwise
        plan = options.plan()
        if hasattr(os, "memfd_create"):
            become(plan)
    main(plan)  # not Linux: the gate takes more memory
