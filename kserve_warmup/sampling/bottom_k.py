"""The requests of one stratum with the lowest hashes, among which some may turn out to be damaged."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

from kserve_warmup.sampling.formats.record import BadRecord, Part, Record

SPARE = 2
"""Requests of each stratum that are kept beyond those that can be chosen, in case some of these are damaged."""

_DAMAGED = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request can be read again: a part of a file, and which of its records it is, from 0."""

    part: Part
    index: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A request among the lowest hashes of its stratum.

    Attributes:
        key: the hash.
        size: bytes of its body.
        place: where it stands.
        record: the request as it was recorded; None when it has to be read again.
        damaged: why it is no request after all, which only shows when it is decoded whole.
        refused: why it cannot be used, though it is a request.
    """

    key: bytes
    size: int
    place: Place
    record: Record | None = None
    damaged: BadRecord | None = None
    refused: BadRecord | None = None


@dataclass(slots=True)
class BottomK:
    """The traffic of one stratum: how many requests, and the ones with the lowest hashes, ``k`` and some to spare.

    Those known to be damaged do not count among these, and are remembered too: which they are depends on the traffic
    alone.
    """

    k: int
    count: int = 0
    kept: list[Kept] = field(default_factory=list)
    limit: bytes | None = None

    def wants(self, key: bytes) -> bool:
        """Return whether a request with this hash would be kept; an equal one is kept once."""
        if self.limit is not None and key >= self.limit:
            return False
        position = bisect.bisect_left(self.kept, key, key=lambda kept: kept.key)
        return position == len(self.kept) or self.kept[position].key != key

    def keep(self, kept: Kept) -> list[Kept]:
        """Put a wanted request among the kept ones; return those that have to go."""
        bisect.insort(self.kept, kept, key=lambda other: other.key)
        intact, end = self.intact, len(self.kept)
        if len(intact) >= self.k + SPARE:
            end = intact[self.k + SPARE - 1] + 1
            self.limit = self.kept[end - 1].key
        gone = self.kept[end:]
        del self.kept[end:]
        damaged = [n for n, item in enumerate(self.kept) if item.damaged is not None]
        if len(damaged) > _DAMAGED:
            gone.append(self.kept.pop(damaged[-1]))
        return gone

    def merge(self, other: BottomK) -> None:
        """Take in what another sketch of the same size has seen."""
        self.count += other.count
        for kept in other.kept:
            if self.wants(kept.key):
                self.keep(kept)

    @property
    def intact(self) -> list[int]:
        """Return which of the kept ones are not known to be damaged, the lowest hash first."""
        return [n for n, kept in enumerate(self.kept) if kept.damaged is None]

    @property
    def usable(self) -> list[Kept]:
        """Return the requests that can be chosen, the lowest hash first; no others stand in for refused ones."""
        return [self.kept[n] for n in self.intact[: self.k] if self.kept[n].refused is None]

    @property
    def runs_out(self) -> bool:
        """Return whether so many were damaged that requests which were let go would have been among the usable."""
        return self.limit is not None and len(self.intact) < self.k

    @property
    def unusable(self) -> list[BadRecord]:
        """Return the notes on requests that turned out to be none, or that cannot be used."""
        return [note for kept in self.kept if (note := kept.damaged or kept.refused)]

    @property
    def requests(self) -> int:
        """Return the number of requests, without those known to be unusable."""
        return self.count - len(self.unusable)
