"""What the demo measured: plain data, saved as JSON; the table and the HTML report are views on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from kserve_warmup.latency import Latencies
from kserve_warmup.saved import SCHEMA, Saved

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

    def __post_init__(self) -> None:
        """Refuse what has no first and no steady latency."""
        if not self.latencies_ms or min(self.latencies_ms) <= 0:
            msg = "a start has latencies, above 0 ms each"
            raise ValueError(msg)

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
    starts: Annotated[tuple[Start, ...], Field(min_length=1)]

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
        figures = {name: getattr(self, name) for name in ("first_ms", "steady_ms", "ratio", "ready_seconds")}
        return asdict(replace(self, starts=())) | figures | {"starts": [s.to_dict() for s in self.starts]}


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
class DemoResult(Saved):
    """Everything the demo found.

    ``created`` is ISO 8601 in UTC; ``machine`` names processor, cores and operating system; ``versions`` maps package
    or server to version; ``pace_seconds`` is the gap between requests.
    """

    WHAT: ClassVar[str] = "a demo's result"

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
        return {"schema": SCHEMA} | asdict(self) | {"cells": [c.to_dict() for c in self.cells]}
