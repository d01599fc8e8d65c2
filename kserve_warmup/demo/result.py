"""What the demo measured: plain data, saved as JSON; the table and the HTML report are views on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Literal, get_args

from kserve_warmup.latency import Latencies

SCHEMA = 1

Server = Literal["kserve", "triton"]
Scenario = Literal["cold", "warm"]
SERVERS: tuple[Server, ...] = get_args(Server)
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)


@dataclass(frozen=True)
class Start(Latencies):
    """One fresh server process, seen by a warm client: requests at one steady pace from the moment it said ready.

    ``latencies_ms`` holds every request's latency in the order sent; the first is the one that a user meets.
    ``ready_seconds`` is the time from starting the process to the model's ready endpoint answering 200. ``warmup`` is
    the server's own ``WarmupReport.to_dict()``, or None: cold servers and Triton have none.
    """

    ready_seconds: float
    warmup: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible data, the derived figures included."""
        derived = {"first_ms": self.first_ms, "steady_ms": self.steady_ms, "ratio": self.ratio}
        return derived | asdict(self)


@dataclass(frozen=True, slots=True)
class Cell:
    """One model on one server, cold or warm, over one or more fresh starts; its figures are medians over the starts."""

    model: str
    server: Server
    scenario: Scenario
    protocol: str
    starts: tuple[Start, ...]

    @property
    def first_ms(self) -> float:
        """Return the median first latency."""
        return median(s.first_ms for s in self.starts)

    @property
    def steady_ms(self) -> float:
        """Return the median steady latency."""
        return median(s.steady_ms for s in self.starts)

    @property
    def ratio(self) -> float:
        """Return the median of first divided by steady."""
        return median(s.ratio for s in self.starts)

    @property
    def ready_seconds(self) -> float:
        """Return the median time from process start to ready."""
        return median(s.ready_seconds for s in self.starts)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible data, the derived figures included."""
        head: dict[str, Any] = {"model": self.model, "server": self.server, "scenario": self.scenario}
        head |= {"protocol": self.protocol, "first_ms": self.first_ms, "steady_ms": self.steady_ms}
        head |= {"ratio": self.ratio, "ready_seconds": self.ready_seconds}
        return head | {"starts": [s.to_dict() for s in self.starts]}


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a reader needs to know about a demo model; ``description`` is one sentence, ``requests`` were recorded."""

    name: str
    description: str
    inputs: str
    requests: int
    samples: int
    strata: int
    coverage: float


@dataclass(frozen=True, slots=True)
class DemoResult:
    """Everything the demo found.

    ``created`` is ISO 8601 in UTC; ``machine`` names processor, cores and operating system; ``versions`` maps package
    or server to version; ``pace_seconds`` is the gap between requests.
    """

    created: str
    machine: str
    versions: dict[str, str]
    pace_seconds: float
    seconds: float
    models: tuple[ModelFacts, ...]
    cells: tuple[Cell, ...]

    def cell(self, model: str, server: Server, scenario: Scenario) -> Cell | None:
        """Return the measurement of one model, server and scenario, or None when it was left out."""
        wanted = (model, server, scenario)
        return next((c for c in self.cells if (c.model, c.server, c.scenario) == wanted), None)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible data; ``schema`` tells its version."""
        head: dict[str, Any] = {"schema": SCHEMA, "created": self.created, "machine": self.machine}
        head |= {"versions": self.versions, "pace_seconds": self.pace_seconds, "seconds": self.seconds}
        return head | {"models": [asdict(m) for m in self.models], "cells": [c.to_dict() for c in self.cells]}

    def to_json(self) -> str:
        """Return the result as a JSON document."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> DemoResult:
        """Read what :meth:`to_json` wrote."""
        data = json.loads(text)
        return cls(
            created=data["created"],
            machine=data["machine"],
            versions=data["versions"],
            pace_seconds=data["pace_seconds"],
            seconds=data["seconds"],
            models=tuple(ModelFacts(**m) for m in data["models"]),
            cells=tuple(_cell(c) for c in data["cells"]),
        )


def _cell(data: dict[str, Any]) -> Cell:
    starts = tuple(Start(tuple(s["latencies_ms"]), s["ready_seconds"], s["warmup"]) for s in data["starts"])
    return Cell(data["model"], data["server"], data["scenario"], data["protocol"], starts)
