"""The demo's result as a page: the first request, cold against warm, on every model and server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median

from kserve_warmup.demo.result import SERVERS, Cell, DemoResult, ModelFacts, Server
from kserve_warmup.errors import WarmupError
from kserve_warmup.figures import duration, times
from kserve_warmup.html.chart import Chart, Curve, LogScale, Value, latency_chart, row_chart
from kserve_warmup.html.page import part
from kserve_warmup.html.warmup import Section, section
from kserve_warmup.report import WarmupReport

SERVER_NAMES: dict[Server, str] = {"kserve": "KServe", "triton": "Triton"}

AS_FAST = 1.10
"""The first request counts as fast as later ones up to this ratio: the project's own limit for the median."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One model on one server, cold against warm."""

    server: str
    cold: Cell
    warm: Cell
    chart: Chart


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model: its pairs, and the last warm-up report that its server wrote, when it wrote one."""

    facts: ModelFacts
    pairs: tuple[Pair, ...]
    warmup: Section | None


@dataclass(frozen=True, slots=True)
class Spread:
    """Several cells of one scenario: the median and the worst of first ÷ steady, and the median seconds to ready."""

    median: float
    worst: float
    ready_seconds: float


def demo_part(result: DemoResult, label: str, name: str) -> str:
    """Return the part of a page about what the demo measured; ``name`` begins the names of its places.

    Raises:
        WarmupError: No model was measured both cold and warm on the same server.
    """
    models = tuple(v for v in (_model(result, facts) for facts in result.models) if v.pairs)
    pairs = [p for m in models for p in m.pairs]
    if not pairs:
        msg = "the demo's result has no model measured both cold and warm on one server: run the demo again"
        raise WarmupError(msg)
    cold, warm = (_spread([getattr(p, s) for p in pairs]) for s in ("cold", "warm"))
    return part(
        "demo.html.j2",
        id=name,
        label=label,
        title="The first request, cold and warm",
        claim=warm.median <= AS_FAST,
        cold=cold,
        warm=warm,
        overview=_overview(models),
        models=models,
        result=result,
        starts=max(len(c.starts) for p in pairs for c in (p.cold, p.warm)),
    )


def _model(result: DemoResult, facts: ModelFacts) -> ModelView:
    cells = [(s, result.cell(facts.name, s, "cold"), result.cell(facts.name, s, "warm")) for s in SERVERS]
    whole = [(server, cold, warm) for server, cold, warm in cells if cold and warm]
    latencies = [v for _, *pair in whole for cell in pair for start in cell.starts for v in start.latencies_ms]
    # One scale for both servers, so that a reader may compare the charts side by side.
    scale = LogScale.around(latencies) if latencies else None
    pairs = tuple(Pair(SERVER_NAMES[s], cold, warm, _chart(s, cold, warm, scale)) for s, cold, warm in whole)
    return ModelView(facts, pairs, _warmup(pairs))


def _chart(server: Server, cold: Cell, warm: Cell, scale: LogScale | None) -> Chart:
    curves = [Curve(c.scenario, s.latencies_ms, name=c.scenario) for c in (cold, warm) for s in c.starts]
    words = " ".join(
        f"{c.scenario.capitalize()}: first {duration(c.first_ms)}, steady {duration(c.steady_ms)}, "
        f"first ÷ steady {times(c.ratio)}."
        for c in (cold, warm)
    )
    return latency_chart(f"{cold.model} on {SERVER_NAMES[server]}", words, curves, scale=scale)


def _warmup(pairs: tuple[Pair, ...]) -> Section | None:
    written = [s.warmup for p in pairs for s in p.warm.starts if s.warmup is not None]
    return section(WarmupReport.from_json(json.dumps(written[-1]))) if written else None


def _spread(cells: list[Cell]) -> Spread:
    worst = max(start.ratio for cell in cells for start in cell.starts)
    return Spread(median(c.ratio for c in cells), worst, median(c.ready_seconds for c in cells))


def _overview(models: tuple[ModelView, ...]) -> Chart:
    pairs = [(f"{m.facts.name} · {p.server}", p) for m in models for p in m.pairs]
    rows = [
        (label, [Value(c.scenario, c.scenario, c.ratio, times(c.ratio)) for c in (p.cold, p.warm)])
        for label, p in pairs
    ]
    words = "; ".join(f"{label}: cold {cold.text}, warm {warm.text}" for label, (cold, warm) in rows)
    return row_chart("First request ÷ steady state, cold and warm", words + ".", rows, ratios=times)
