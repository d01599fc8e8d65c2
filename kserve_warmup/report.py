"""What a warm-up did, in numbers: plain data that is saved as JSON; tables and pages are views on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from kserve_warmup.caches.framework import CacheCount
from kserve_warmup.saved import SCHEMA, Saved

StratumKey = tuple[str, str, str, int]
"""Protocol, signature, variant and batch size."""

READY = "ready"
"""The last step of a timeline: the moment at which the model said that it is ready."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step on the way to ready; ``start`` and ``end`` are seconds since the process started.

    After a reload in a running process they are seconds since that load began.
    """

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class StratumReport:
    """One stratum: requests of one protocol, signature and batch size that go one way through the server.

    ``variant`` says in words which way, where that is not the usual one. ``share`` is its part of the traffic (0 to 1).
    ``first_ms`` and ``steady_ms`` are None until a call succeeded. ``latencies_ms`` holds every successful call in
    order, ``changes`` how many of them came before each change of transport. Of streamed answers they are the time to
    the first token, and ``per_token_ms`` the time from one token to the next; whole answers of other lengths are
    brought to that of the first. ``failures`` counts the samples that met a
    fault, ``refused`` those that the model refused (HTTP 4xx and its kin), ``error`` is the last of either, in a line.
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
    refused: int = 0
    variant: str = ""
    per_token_ms: tuple[float, ...] = ()

    @property
    def key(self) -> StratumKey:
        """Return what tells the stratum from all others of the model."""
        return (self.protocol, self.signature, self.variant, self.batch)

    @property
    def name(self) -> str:
        """Return what a person calls the stratum but for its batch size."""
        return " ".join(filter(None, (self.protocol, self.signature, self.variant)))

    @property
    def warmed(self) -> bool:
        """Return whether at least one request of the stratum was answered."""
        return self.first_ms is not None

    @property
    def left_out(self) -> bool:
        """Return whether the model refused every request of the stratum: nothing of it is there to be warmed."""
        return bool(self.refused) and not self.failures and not self.warmed


@dataclass(frozen=True, slots=True)
class Level:
    """What was seen of so many requests ``at_once``, sent again and again until steady; a call is all of them."""

    at_once: int
    seconds: float
    strata: tuple[StratumReport, ...]

    @property
    def converged(self) -> bool:
        """Return whether every stratum became steady."""
        return all(s.converged for s in self.strata)

    @property
    def calls(self) -> int:
        """Return how often so many requests were sent."""
        return sum(s.calls for s in self.strata)

    def summary(self) -> str:
        """Return one line for a log."""
        steady = sum(s.converged for s in self.strata)
        said = f"{self.calls} times in {self.seconds:.1f} s, {steady} of {len(self.strata)} strata steady"
        return f"{self.at_once} requests at once: {said}"


@dataclass(frozen=True, slots=True)
class ProfileUse:
    """What a warm-up had from earlier starts, and left for later ones.

    Attributes:
        source: The file that profiles came from, None if there was none.
        stale: What it was learned under that is another now: code, packages, machine, samples.
        used: The paths on which it ended the warm-up early.
        refused: Why it did not on others, or why a file cannot be used; a line each.
        learned: The file that this start has added to, None if none.
    """

    source: str | None = None
    stale: tuple[str, ...] = ()
    used: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    learned: str | None = None

    def then(self, later: ProfileUse) -> ProfileUse:
        """Return this and what a later path did."""
        return replace(
            self,
            source=self.source or later.source,
            stale=self.stale or later.stale,
            used=(*self.used, *later.used),
            refused=(*self.refused, *later.refused),
            learned=later.learned or self.learned,
        )

    def summary(self) -> str:
        """Return one line for a log, empty if there is nothing to say."""
        parts = [f"ended early over {', '.join(self.used)}"] if self.used else []
        parts += [f"not agreed with: {'; '.join(self.refused)}"] if self.refused else []
        parts += [f"learned with other {', '.join(self.stale)}"] if self.stale else []
        parts += [f"written to {self.learned}"] if self.learned else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class WarmupReport(Saved):
    """The result of one replay of a sample set over one transport.

    ``tolerance`` is the share of the plateau within which latency counted as steady, ``timeline`` the steps from the
    start of the process to ready; both are missing from reports of earlier versions. ``profile`` says what earlier
    starts had learned, ``cache`` what the compile caches of this process gave, ``cache_note`` why baked ones were not
    used, or not wholly. ``levels`` has what was seen of several requests at once.
    """

    WHAT: ClassVar[str] = "a warm-up report"

    model: str
    transport: str
    seconds: float
    strata: tuple[StratumReport, ...]
    note: str | None = None
    tolerance: float | None = None
    timeline: tuple[Step, ...] = ()
    profile: ProfileUse | None = None
    cache: tuple[CacheCount, ...] = ()
    cache_note: str | None = None
    levels: tuple[Level, ...] = ()

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
        """Return the share of the traffic (0 to 1) that was warmed: whose strata are steady."""
        return sum(s.share for s in self.strata if s.converged)

    @property
    def unsteady(self) -> float:
        """Return the share of the traffic (0 to 1) that was sent and answered, but is not steady."""
        return sum(s.share for s in self.strata if s.warmed and not s.converged)

    @property
    def failed(self) -> tuple[StratumReport, ...]:
        """Return the strata in which no request succeeded and one at least met a fault."""
        return tuple(s for s in self.strata if s.failures and not s.warmed)

    @property
    def refused(self) -> tuple[StratumReport, ...]:
        """Return the strata in which no request succeeded because the model refused them."""
        return tuple(s for s in self.strata if s.left_out)

    @property
    def refused_share(self) -> float:
        """Return the share of the traffic (0 to 1) that is left out because the model refuses it."""
        return sum(s.share for s in self.refused)

    @property
    def moving(self) -> tuple[StratumReport, ...]:
        """Return the strata that are not steady, but for those that the model refuses."""
        return tuple(s for s in self.strata if not s.converged and not s.left_out)

    @property
    def ready_seconds(self) -> float | None:
        """Return the seconds from the timeline's beginning to ready, None when that is not known."""
        return next((step.end for step in self.timeline if step.name == READY), None)

    @property
    def step_seconds(self) -> dict[str, float]:
        """Return the seconds of each step of the timeline, ready aside, by its name; repeated steps are added up."""
        seconds: dict[str, float] = {}
        for step in self.timeline:
            if step.name != READY:
                seconds[step.name] = seconds.get(step.name, 0.0) + step.end - step.start
        return seconds

    def summary(self) -> str:
        """Return one line for a log."""
        line = f"{self.calls} calls over {self.transport} in {self.seconds:.1f} s, {self.coverage:.0%} of the traffic"
        if self.converged:
            return f"warm: {line}, all {len(self.strata)} strata steady"
        line += " warm"
        if self.unsteady:
            line += f", {self.unsteady:.0%} sent but not steady"
        if self.refused:
            line += f", {self.refused_share:.1%} refused by the model"
        if not self.moving:
            return f"{line}; the other {len(self.strata) - len(self.refused)} of {len(self.strata)} strata steady"
        names = ", ".join(f"{s.name} batch {s.batch}" for s in self.moving[:5])
        return f"{line}; {len(self.moving)} of {len(self.strata)} strata NOT steady: {names}"

    @property
    def cache_summary(self) -> str:
        """Return what compile caches gave, such as ``7 of 8 programs hit, 1 compiled, 10.2 s saved``; may be empty."""
        told = [one for one in self.cache if one.told and one.hit + one.compiled]
        parts = []
        if told:
            hit, compiled = sum(c.hit for c in told), sum(c.compiled for c in told)
            parts.append(f"{hit} of {hit + compiled} programs hit, {compiled} compiled")
            if rejected := sum(c.rejected for c in told):
                parts.append(f"{rejected} of them rejected")
            if saved := sum(c.seconds_saved or 0.0 for c in told):
                parts.append(f"{saved:.1f} s saved")
        if self.cache_note:
            parts.append(self.cache_note)
        return ", ".join(parts)

    def then(self, later: WarmupReport) -> WarmupReport:
        """Return one report of this replay and a ``later`` one of the same model over another transport.

        A stratum of both has the first latency of this and the steady latency of the later one.
        """
        transports = [t for t in (self.transport, later.transport) if t != "none"]
        strata = {s.key: s for s in self.strata}
        for after in later.strata:
            strata[after.key] = _joined(strata[after.key], after) if after.key in strata else after
        return WarmupReport(
            self.model,
            ", ".join(dict.fromkeys(transports)) or "none",
            self.seconds + later.seconds,
            tuple(strata.values()),
            self.note or later.note,
            self.tolerance if later.tolerance is None else later.tolerance,
            later.timeline or self.timeline,
            self.profile.then(later.profile) if self.profile and later.profile else later.profile or self.profile,
            later.cache or self.cache,
            later.cache_note or self.cache_note,
            later.levels or self.levels,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible data; ``schema`` tells its version."""
        data, strata = asdict(replace(self, strata=())), [asdict(s) for s in self.strata]
        data |= {"calls": self.calls, "converged": self.converged, "ready_seconds": self.ready_seconds}
        data |= {"coverage": self.coverage, "unsteady": self.unsteady, "refused": self.refused_share}
        return {"schema": SCHEMA} | data | {"strata": strata}


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
        refused=before.refused + after.refused,
        error=after.error or before.error,
        latencies_ms=before.latencies_ms + after.latencies_ms,
        per_token_ms=before.per_token_ms + after.per_token_ms,
        changes=before.changes + change + tuple(done + later for later in after.changes),
    )
