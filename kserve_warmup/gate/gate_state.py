"""Where the gate stands, as plain data: what ``/ready`` answers."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from kserve_warmup.replay import OUT_OF_BUDGET
from kserve_warmup.report import StratumReport, WarmupReport
from kserve_warmup.views.figures import state

Phase = Literal["waiting", "warming", "ready", "failed"]


_KIND = re.compile(r"(?:^|: )(HTTP \d{3}|gRPC [A-Z_]+|no answer within [\d.e+]+ s)")

IN_THE_LOG = "the gate's log says why"


def unquoted(report: WarmupReport) -> WarmupReport:
    """Return a report for anybody: of each error its kind, such as ``HTTP 500``, and none of the server's words."""
    levels = tuple(replace(level, strata=_unquoted(level.strata)) for level in report.levels)
    return replace(report, strata=_unquoted(report.strata), levels=levels)


def _unquoted(strata: tuple[StratumReport, ...]) -> tuple[StratumReport, ...]:
    return tuple(replace(s, error=_kind(s.error)) for s in strata)


def _kind(error: str | None) -> str | None:
    if error is None or error == OUT_OF_BUDGET:
        return error
    found = _KIND.search(error)
    return f"{found[1]}: {IN_THE_LOG}" if found else f"failed: {IN_THE_LOG}"


def blame(*, everything: bool) -> str:
    """Return what to do about faults (5xx, no answer), in every stratum or some: not the samples are to be mended."""
    if everything:
        return (
            "the server answers none of its samples, and is asked again; --on-failure serve would let it through cold"
        )
    return "a user's request of that kind would fail too: mend the model, leave the kind out, or set --on-failure serve"


@dataclass(frozen=True, slots=True)
class State:
    """One moment of the gate.

    All of it may be seen by anybody who reaches the gate's port, so nothing here quotes a server or a request; that is
    in the log. ``phase`` is what it is at, ``detail`` why, in one line for people. ``since`` is when the phase began
    (``time.monotonic()``). ``warmups`` counts the warm-ups begun: more than one means that the server restarted.
    ``calls`` are the requests sent in the current or last one; ``reports`` what it found, one a model; see
    :func:`unquoted`.
    """

    phase: Phase = "waiting"
    detail: str = "has not asked the server yet"
    since: float = field(default_factory=time.monotonic)
    warmups: int = 0
    calls: int = 0
    reports: tuple[WarmupReport, ...] = ()

    @property
    def ready(self) -> bool:
        """Return whether the server behind is warm."""
        return self.phase == "ready"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``/ready`` says, as JSON-compatible data."""
        head: dict[str, Any] = {"ready": self.ready, "phase": self.phase, "detail": self.detail}
        head |= {"seconds": round(time.monotonic() - self.since, 1), "warmups": self.warmups, "calls": self.calls}
        return head | {"models": [_model(report) for report in self.reports]}


def _model(report: WarmupReport) -> dict[str, Any]:
    shares = {"coverage": report.coverage, "unsteady": report.unsteady, "refused": report.refused_share}
    return {"model": report.model, **shares, "steady": state(report) == "steady"}
