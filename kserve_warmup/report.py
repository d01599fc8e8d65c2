"""What a warm-up did, in numbers: plain data that is saved as JSON; tables and pages are views on it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class StratumReport:
    """One stratum: requests of one protocol, signature and batch size.

    ``share`` is its part of the traffic (0 to 1). ``first_ms`` and ``steady_ms`` are None until a call succeeded.
    ``latencies_ms`` holds every successful call in order, ``changes`` how many of them came before each change of
    transport. ``error`` is the last failure, in one line.
    """

    protocol: str
    signature: str
    batch: int
    share: float
    calls: int
    seconds: float
    first_ms: float | None
    steady_ms: float | None
    converged: bool
    failures: int
    error: str | None
    latencies_ms: tuple[float, ...] = ()
    changes: tuple[int, ...] = ()

    @property
    def warmed(self) -> bool:
        """Return whether at least one request of the stratum was answered."""
        return self.first_ms is not None


@dataclass(frozen=True, slots=True)
class WarmupReport:
    """The result of one replay of a sample set over one transport."""

    model: str
    transport: str
    seconds: float
    strata: tuple[StratumReport, ...]
    note: str | None = None

    @property
    def calls(self) -> int:
        """Return the number of requests sent, failed ones included."""
        return sum(s.calls for s in self.strata)

    @property
    def converged(self) -> bool:
        """Return whether every stratum became steady."""
        return all(s.converged for s in self.strata)

    @property
    def coverage(self) -> float:
        """Return the share of the traffic (0 to 1) whose signature was warmed."""
        return sum(s.share for s in self.strata if s.warmed)

    @property
    def failed(self) -> tuple[StratumReport, ...]:
        """Return the strata in which no request succeeded although some were sent."""
        return tuple(s for s in self.strata if s.failures and not s.warmed)

    def summary(self) -> str:
        """Return one line for a log."""
        line = f"{self.calls} calls over {self.transport} in {self.seconds:.1f} s, {self.coverage:.0%} of the traffic"
        unsteady = [f"{s.protocol} {s.signature} batch {s.batch}" for s in self.strata if not s.converged]
        if not unsteady:
            return f"warm: {line}, all {len(self.strata)} strata steady"
        return f"{line}; {len(unsteady)} of {len(self.strata)} strata NOT steady: {', '.join(unsteady[:5])}"

    def then(self, later: WarmupReport) -> WarmupReport:
        """Return one report of this replay and a ``later`` one of the same model over another transport.

        A stratum of both has the first latency of this and the steady latency of the later one.
        """
        transports = [t for t in (self.transport, later.transport) if t != "none"]
        strata = {(s.protocol, s.signature, s.batch): s for s in self.strata}
        for after in later.strata:
            key = (after.protocol, after.signature, after.batch)
            strata[key] = _joined(strata[key], after) if key in strata else after
        return WarmupReport(
            self.model,
            ", ".join(dict.fromkeys(transports)) or "none",
            self.seconds + later.seconds,
            tuple(strata.values()),
            self.note or later.note,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible data; ``schema`` tells its version."""
        head: dict[str, Any] = {
            "schema": SCHEMA,
            "model": self.model,
            "transport": self.transport,
            "seconds": self.seconds,
        }
        head |= {"calls": self.calls, "converged": self.converged, "coverage": self.coverage, "note": self.note}
        return head | {"strata": [asdict(s) for s in self.strata]}

    def to_json(self) -> str:
        """Return the report as a JSON document."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> WarmupReport:
        """Read what :meth:`to_json` wrote."""
        data = json.loads(text)
        strata = tuple(_stratum(s) for s in data["strata"])
        return cls(data["model"], data["transport"], data["seconds"], strata, data.get("note"))


def _stratum(data: dict[str, Any]) -> StratumReport:
    series = {name: tuple(data.get(name, ())) for name in ("latencies_ms", "changes")}
    return StratumReport(**{**data, **series})


def _joined(before: StratumReport, after: StratumReport) -> StratumReport:
    done = len(before.latencies_ms)
    change = (done,) if done and after.latencies_ms else ()
    return replace(
        after,
        calls=before.calls + after.calls,
        seconds=before.seconds + after.seconds,
        first_ms=after.first_ms if before.first_ms is None else before.first_ms,
        steady_ms=before.steady_ms if after.steady_ms is None else after.steady_ms,
        failures=before.failures + after.failures,
        error=after.error or before.error,
        latencies_ms=before.latencies_ms + after.latencies_ms,
        changes=before.changes + change + tuple(done + later for later in after.changes),
    )
