"""What a bake found out: its starts, and what was gained, in numbers and in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from kserve_warmup.caches.framework import CacheCount
from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.report import WarmupReport
from kserve_warmup.saved import SCHEMA, Saved


@dataclass(frozen=True, slots=True)
class BakedStart:
    """One start: seconds from process start to ready, seconds of all warm-ups, and what caches gave.

    Attributes:
        ready_seconds: From the process's start to ready, which servers of WarmupModels are only when they are warm.
        warmup_seconds: Of all models' warm-ups; from ``outside`` they come after ready.
        calls: Warm-up requests.
        steady: Whether all strata became steady; from outside a busy machine can keep that from being seen.
        cache: What each framework counted; nothing from outside, where nobody can count.
        note: Why caches were not used, or not wholly.
        outside: Whether it was warmed as by a gate, since the server does not warm itself.
        written: Files that it wrote to its private copy of what was baked, None where frameworks count.
        first_seconds: What the first request of each stratum took, all together: compiles, if there were any.
    """

    ready_seconds: float
    warmup_seconds: float
    calls: int
    steady: bool
    cache: tuple[CacheCount, ...]
    note: str | None = None
    outside: bool = False
    written: int | None = None
    first_seconds: float | None = None

    @property
    def warm_seconds(self) -> float:
        """Return the seconds from the process's start to warm."""
        return self.ready_seconds + self.warmup_seconds if self.outside else self.ready_seconds

    @property
    def parts(self) -> str:
        """Return what its time to warm, seen from outside, is made of."""
        first = f", first requests {self.first_seconds:.1f} s of it" if self.first_seconds is not None else ""
        return f"{self.ready_seconds:.1f} s to ready, {self.warmup_seconds:.1f} s of warm-up{first}"


@dataclass(frozen=True, slots=True)
class BakeResult(Saved):
    """What was baked and gained; ``size`` in bytes, of ``files`` files. ``starts``: that which learnt, then proofs."""

    WHAT: ClassVar[str] = "a bake's result"

    out: str
    starts: tuple[BakedStart, ...]
    size: int
    files: int
    profile: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-compatible data."""
        return {"schema": SCHEMA} | asdict(self)

    def lines(self) -> list[str]:
        """Return what was gained, in words."""
        first, later = self.starts[0], self.starts[-1]
        if first.outside:
            return [f"{self.out}: {self.files} files, {self.size / 1e6:.1f} MB", *self._from_outside()]
        ready = f"ready after {first.ready_seconds:.1f} s, from what was baked after {later.ready_seconds:.1f} s"
        warm = f"warm-up {first.warmup_seconds:.1f} s, then {later.warmup_seconds:.1f} s"
        lines = [f"{self.out}: {self.files} files, {self.size / 1e6:.1f} MB", f"{ready}; {warm}", *self.unsteady()]
        for one in later.cache:
            counts = f"{one.hit} hit, {one.compiled} compiled, {one.rejected} rejected" if one.told else "not told"
            lines.append(f"{one.framework}: {counts}{f'; {one.note}' if one.note else ''}")
        if not self.files:
            lines.append("no framework kept anything: nothing but the fingerprint was baked")
        return lines

    def unsteady(self) -> list[str]:
        """Return that a busy machine kept steadiness from being seen; every request was answered all the same."""
        if self.starts[0].steady:
            return []
        return ["the first start was warm, but not seen to be steady: what it compiles later is not kept"]

    def _from_outside(self) -> list[str]:
        """Return what can be told of a server that nobody sees into: files and seconds, and no hits."""
        first, later = self.starts[0], self.starts[-1]
        warm = f"warm after {first.warm_seconds:.1f} s, from what was baked after {later.warm_seconds:.1f} s"
        lines = [f"{warm} ({'; then '.join(one.parts for one in (first, later))})", *self.unsteady()]
        if not self.files:
            return [*lines, "no framework kept anything: nothing but the fingerprint was baked"]
        written = " and ".join(str(one.written) for one in self.starts[1:])
        return [*lines, f"the proofs wrote {written} files anew; what is hit such a server does not tell"]


def start_of(reports: Sequence[WarmupReport], ready_seconds: float, *, outside: bool = False) -> BakedStart:
    """Return one start of the reports of its models.

    Latencies that were not seen to be steady are said and refuse nothing: builds run beside others, and what was
    compiled is in the caches, which the proofs have to hit.

    Raises:
        WarmupFailedError: a model has a stratum of which no request was answered.
    """
    for report in reports:
        if any(not one.warmed for one in report.moving) or not any(one.warmed for one in report.strata):
            raise WarmupFailedError(f"nothing was baked: {report.model} was not warm: {report.summary()}")
    counts = {one.framework: one for report in reports for one in report.cache}  # of the process: the last has all
    return BakedStart(
        ready_seconds,
        sum(r.seconds for r in reports),
        sum(r.calls for r in reports),
        not any(r.moving for r in reports),
        tuple(counts.values()),
        next((report.cache_note for report in reports if report.cache_note), None),
        outside,
        first_seconds=sum(one.first_ms or 0.0 for report in reports for one in report.strata) / 1000,
    )
