"""What a verification found: plain data, saved as JSON; the table, the page and JUnit's XML are views on it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

from kserve_warmup.latency import Latencies
from kserve_warmup.saved import SCHEMA, Saved, checked
from kserve_warmup.verify.judge import Judgeable, Judgement, Verdict, judge, judgeable, starts_needed
from kserve_warmup.views.figures import count, times


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is judged: a stratum, or the first request of each process.

    ``unseen`` strata come from the second sample set, which the warm-up did not know. ``share`` is the stratum's part
    of the traffic (0 to 1), None for the first requests. ``series`` holds one series a start.
    """

    name: str
    unseen: bool
    share: float | None
    series: tuple[Latencies, ...]
    judgement: Judgement

    def why(self, max_ratio: float) -> str:
        """Return in one sentence what the verdict rests on."""
        j, starts = self.judgement, len(self.series)
        figures = f"first ÷ steady {times(j.ratio)} (worst {times(j.worst)}) over {count(starts, 'start')}"
        if there := judgeable([j], max_ratio):
            more = starts_needed(j, starts, max_ratio)
            stray = f"on this machine a warm server's own figure strays by {j.doubt:.0%}"
            at = f"no verdict at {max_ratio:g}, at {there.max_ratio:g}: {there.verdict}"
            return f"{figures}: {stray}: {at}; for {max_ratio:g} take {more:,} starts or a quieter machine"
        if j.verdict == "pass":
            return f"{figures}, within {max_ratio:g}"
        if self.unseen:
            return f"{figures}, past {max_ratio:g}: this shape was not warmed and compiles live"
        return f"{figures}, past {max_ratio:g}"


@dataclass(frozen=True, slots=True)
class Start:
    """One process: seconds until it said ready (None when it was running before), and the stratum that came first."""

    ready_seconds: float | None
    lead: str


@dataclass(frozen=True, slots=True)
class Verification(Saved):
    """Everything that was found; ``created`` is ISO 8601 in UTC, ``target`` what was verified."""

    WHAT: ClassVar[str] = "a verification"

    created: str
    target: str
    pace_seconds: float
    max_ratio: float
    starts: tuple[Start, ...]
    rows: tuple[Row, ...]

    @property
    def verdict(self) -> Verdict:
        """Return ``fail`` when one row fails, ``noisy`` when one cannot be judged, else ``pass``."""
        verdicts = {row.judgement.verdict for row in self.rows}
        return "fail" if "fail" in verdicts else "noisy" if "noisy" in verdicts else "pass"

    @property
    def judgeable(self) -> Judgeable | None:
        """Return the smallest limit at which all can be judged, and the verdict there; None unless there is none."""
        return judgeable([row.judgement for row in self.rows], self.max_ratio) if self.verdict == "noisy" else None

    def with_verdict(self, verdict: Verdict) -> tuple[Row, ...]:
        """Return the rows that have this verdict."""
        return tuple(row for row in self.rows if row.judgement.verdict == verdict)

    @property
    def summary(self) -> str:
        """Return the verdict in one line."""
        rows = count(len(self.rows), "figure")
        if self.verdict == "pass":
            return f"warm: {rows} within {self.max_ratio:g} over {count(len(self.starts), 'start')}"
        named = self.with_verdict(self.verdict)
        example = f"{named[0].name}: {named[0].why(self.max_ratio)}"
        if self.verdict == "fail":
            return f"not warm: {len(named)} of {rows} past {self.max_ratio:g}; {example}"
        there = self.judgeable
        at = f", at {there.max_ratio:g}: {there.verdict}" if there else ""
        return f"no verdict at {self.max_ratio:g}{at}: {len(named)} of {rows} cannot be judged; {example}"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-compatible data, the judgements included; ``schema`` tells its version."""
        head: dict[str, Any] = {"schema": SCHEMA, "created": self.created, "target": self.target}
        head |= {"verdict": self.verdict, "summary": self.summary, "max_ratio": self.max_ratio}
        head |= {"judgeable": _plain(self.judgeable)}
        head |= {"pace_seconds": self.pace_seconds, "starts": [asdict(s) for s in self.starts]}
        return head | {"rows": [_row(row, self.max_ratio) for row in self.rows]}

    @classmethod
    def from_dict(cls, data: Any) -> Verification:
        """Read what :meth:`to_dict` gave; the judgements are made anew from the figures."""
        saved = checked(_Saved, data, cls.WHAT)
        rows = [(r.name, r.unseen, r.share, [Latencies(s) for s in r.latencies_ms]) for r in saved.rows]
        return cls(
            saved.created,
            saved.target,
            saved.pace_seconds,
            saved.max_ratio,
            saved.starts,
            judged(rows, saved.max_ratio),
        )


@dataclass(frozen=True, slots=True)
class _SavedRow:
    name: str
    unseen: bool
    share: float | None
    latencies_ms: Annotated[
        tuple[Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=4)], ...], Field(min_length=1)
    ]


@dataclass(frozen=True, slots=True)
class _Saved:
    created: str
    target: str
    pace_seconds: float
    max_ratio: Annotated[float, Field(gt=1)]
    starts: tuple[Start, ...]
    rows: Annotated[tuple[_SavedRow, ...], Field(min_length=1)]


def judged(rows: list[tuple[str, bool, float | None, list[Latencies]]], max_ratio: float) -> tuple[Row, ...]:
    """Judge rows of name, unseen, share and series side by side."""
    return tuple(
        Row(name, unseen, share, tuple(series), judge(series, max_ratio, len(rows)))
        for name, unseen, share, series in rows
    )


def _row(row: Row, max_ratio: float) -> dict[str, Any]:
    head: dict[str, Any] = {"name": row.name, "unseen": row.unseen, "share": row.share}
    head |= asdict(row.judgement) | {"judgeable": _plain(judgeable([row.judgement], max_ratio))}
    return head | {"latencies_ms": [list(s.latencies_ms) for s in row.series], "why": row.why(max_ratio)}


def _plain(there: Judgeable | None) -> dict[str, Any] | None:
    return asdict(there) if there else None
