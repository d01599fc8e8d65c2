"""The demo's result as a part of a page: the first request, cold against warm, on every model and server."""

from __future__ import annotations

from statistics import median
from typing import Any

from kserve_warmup.demo.demo_result import SERVERS, Cell, DemoResult, ModelFacts, Server
from kserve_warmup.errors import WarmupError
from kserve_warmup.report import WarmupReport
from kserve_warmup.views.figures import duration, times
from kserve_warmup.views.html.chart import Chart, Curve, LogScale, Value, latency_chart, row_chart
from kserve_warmup.views.html.page import part
from kserve_warmup.views.html.warmup_page import section

SERVER_NAMES: dict[Server, str] = {"kserve": "KServe", "triton": "Triton"}

AS_FAST = 1.10
"""The first request counts as fast as later ones up to this ratio: the project's own limit for the median."""

View = dict[str, Any]
"""What a template is given."""


def demo_part(result: DemoResult, label: str, name: str) -> str:
    """Return the part of a page about what the demo measured; ``name`` begins the names of its places.

    Raises:
        WarmupError: No model was measured both cold and warm on the same server.
    """
    models = [view for view in (_model(result, facts) for facts in result.models) if view["pairs"]]
    pairs = [pair for model in models for pair in model["pairs"]]
    if not pairs:
        msg = "the demo's result has no model measured both cold and warm on one server: run the demo again"
        raise WarmupError(msg)
    cold, warm = (_spread([pair[scenario] for pair in pairs]) for scenario in ("cold", "warm"))
    return part(
        "demo.html.j2",
        id=name,
        label=label,
        title="The first request, cold and warm",
        claim=warm["median"] <= AS_FAST,
        cold=cold,
        warm=warm,
        overview=_overview(models),
        models=models,
        result=result,
        starts=max(len(pair[scenario].starts) for pair in pairs for scenario in ("cold", "warm")),
    )


def _model(result: DemoResult, facts: ModelFacts) -> View:
    """Return a model's cells in pairs, and the last warm-up report that its server wrote, when it wrote one."""
    cells = [(s, result.cell(facts.name, s, "cold"), result.cell(facts.name, s, "warm")) for s in SERVERS]
    whole = [(server, cold, warm) for server, cold, warm in cells if cold and warm]
    latencies = [v for _, *pair in whole for cell in pair for start in cell.starts for v in start.latencies_ms]
    # One scale for both servers, so that a reader may compare the charts side by side.
    scale = LogScale.around(latencies) if latencies else None
    pairs = [
        {"server": SERVER_NAMES[server], "cold": cold, "warm": warm, "chart": _chart(server, cold, warm, scale)}
        for server, cold, warm in whole
    ]
    written = [start.warmup for _, _, warm in whole for start in warm.starts if start.warmup is not None]
    warmup = section(WarmupReport.from_dict(written[-1])) if written else None
    return {"facts": facts, "pairs": pairs, "warmup": warmup}


def _chart(server: Server, cold: Cell, warm: Cell, scale: LogScale | None) -> Chart:
    curves = [Curve(c.scenario, s.latencies_ms, name=c.scenario) for c in (cold, warm) for s in c.starts]
    words = " ".join(
        f"{c.scenario.capitalize()}: first {duration(c.first_ms)}, steady {duration(c.steady_ms)}, "
        f"first ÷ steady {times(c.ratio)}."
        for c in (cold, warm)
    )
    return latency_chart(f"{cold.model} on {SERVER_NAMES[server]}", words, curves, scale=scale)


def _spread(cells: list[Cell]) -> View:
    ratios = {"median": median(c.ratio for c in cells), "worst": max(s.ratio for c in cells for s in c.starts)}
    return ratios | {"ready_seconds": median(c.ready_seconds for c in cells)}


def _overview(models: list[View]) -> Chart:
    rows = [
        (
            f"{model['facts'].name} · {pair['server']}",
            [Value(c.scenario, c.scenario, c.ratio, times(c.ratio)) for c in (pair["cold"], pair["warm"])],
        )
        for model in models
        for pair in model["pairs"]
    ]
    words = "; ".join(f"{label}: cold {cold.text}, warm {warm.text}" for label, (cold, warm) in rows)
    return row_chart("First request ÷ steady state, cold and warm", words + ".", rows, ratios=times)
