"""Where a generated part's counts came from, as the comment above its blocks says it, and reads it again.

    # counts: default: 20 calls of 43 rows an instance; latency is not known
    # counts: default within 5 s: 20 calls of 43 rows an instance; latency is not known, so a row is taken for 0.1 s
    # counts: calibrated: 24 calls of 51 rows an instance, 1.93 s
    # ms of each block's first call, and of later ones: 812.3 2.1, 640.2 8.3

A later run keeps the origin that it finds unless it is given another. A part without such a comment is of a release
that wrote 50 for every block, or what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kserve_warmup.triton.counts import ROW_SECONDS, Cost, total

FORMER = 50
"""The default count of earlier releases."""

_LINE = re.compile(
    rb"# counts: (?:(default)|(calibrated)|--count ([1-9]\d{0,8}))(?: within (\d[\d.]*(?:e[+-]?\d+)?) s)?:.*"
)
_COSTS = re.compile(rb"# ms of each block's first call, and of later ones: ([\d., ]+)")


@dataclass(frozen=True, slots=True)
class Origin:
    """Whether counts were measured, or else which count was asked for, if any; and the budget that they were cut to."""

    calibrated: bool = False
    count: int | None = None
    max_seconds: float | None = None

    def __str__(self) -> str:
        """Return the origin as the comment has it, which is also what a digest of the options is made from."""
        source = "calibrated" if self.calibrated else "default" if self.count is None else f"--count {self.count}"
        return source if self.max_seconds is None else f"{source} within {self.max_seconds:g} s"

    @property
    def digested(self) -> int | str:
        """Return what stands for the origin in a digest; earlier releases wrote the plain ones as they are here."""
        plain = self.count is not None and self.max_seconds is None
        return self.count if plain and self.count is not None else str(self)


def comment(origin: Origin, counts: Sequence[int], rows: Sequence[int], costs: Sequence[Cost] | None) -> str:
    """Return the comment lines above the blocks.

    Args:
        origin: Where the counts came from.
        counts: Each block's count.
        rows: The rows of a call of each block.
        costs: What was measured of each block; None when no latency is known.
    """
    done = f"{sum(counts)} calls of {sum(c * r for c, r in zip(counts, rows, strict=True))} rows an instance"
    if costs is None:
        assumed = "" if origin.max_seconds is None else f", so a row is taken for {ROW_SECONDS:g} s"
        return f"# counts: {origin}: {done}; latency is not known{assumed}\n"
    measured = ", ".join(f"{1000 * cost.first:.3f} {1000 * cost.later:.3f}" for cost in costs)
    return (
        f"# counts: {origin}: {done}, {total(counts, costs):.3g} s\n"
        f"# ms of each block's first call, and of later ones: {measured}\n"
    )


def read_comment(part: bytes) -> tuple[Origin | None, list[Cost] | None]:
    """Return the origin and the measured costs that a generated part's comment tells; None for what it does not."""
    lines = part.replace(b"\r\n", b"\n").strip(b"\n").split(b"\n")[1:3]  # below the marker; a template may write more
    found = _LINE.fullmatch(lines[0]) if lines else None
    if found is None:
        return None, None
    _, calibrated, count, seconds = found.groups()
    origin = Origin(bool(calibrated), int(count) if count else None, float(seconds) if seconds else None)
    measured = _COSTS.fullmatch(lines[1]) if len(lines) > 1 else None
    try:
        return origin, [_cost(*pair.split()) for pair in measured[1].split(b",")] if measured else None
    except (TypeError, ValueError):  # somebody has written there
        return origin, None


def _cost(first_ms: bytes, later_ms: bytes) -> Cost:
    return Cost(*(round(float(ms) / 1000, 6) for ms in (first_ms, later_ms)))
