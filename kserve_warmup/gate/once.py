"""A gate's warm-up, done once: for a command that needs a warm server and guards none."""

from __future__ import annotations

import asyncio

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.gate.gate_plan import Plan
from kserve_warmup.gate.guard import Gate
from kserve_warmup.gate.guarded import ServerGoneError
from kserve_warmup.gate.main import build
from kserve_warmup.report import WarmupReport
from kserve_warmup.tls_options import with_tls


def warm_once(plan: Plan) -> tuple[WarmupReport, ...]:
    """Warm the server of ``plan``, whose models are ready, and return a report for each of them.

    Raises:
        WarmupFailedError: A stratum failed, or the server went away meanwhile.
    """
    try:
        with with_tls(plan.settings.tls):
            gate = build(plan)
            warm = asyncio.run(_warmed(gate))
    except ServerGoneError as error:
        raise WarmupFailedError(str(error)) from None
    if not warm:
        errors = [
            f"{s.name} batch {s.batch}: {s.error}" for report in gate.state.reports for s in report.strata if s.error
        ]
        raise WarmupFailedError(": ".join([gate.state.detail, *errors[:1]]))
    return gate.state.reports


async def _warmed(gate: Gate) -> bool:
    try:
        return await gate.warmed()
    finally:
        gate.server.drop()
