"""All traffic in small: for each stratum how many requests it has, and the few of them that are kept.

A request is kept by a hash of its content and the seed alone, the lowest first. So the same requests are kept whatever
the order in which they come and however they are split over processes (bottom-k sketches: Cohen and Kaplan, PODC 2007).
None is decoded for that: where strata are many, a good part of the traffic is kept for a moment. Whether one is damaged
shows when it is chosen in the end; for those that are, the next ones are kept too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

try:
    import xxhash
except ImportError:  # what serves goes without: of what it has recorded it keeps others then, of the same strata
    xxhash = None  # type: ignore[assignment]

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.open_values import OpenValues, settled, without
from kserve_warmup.samples.sample import HEADER_ALLOW_LIST, Protocol, Stratum
from kserve_warmup.samples.strata import Vocabulary, nameless, told
from kserve_warmup.sampling.bottom_k import BottomK, Kept, Place
from kserve_warmup.sampling.formats.record import BadRecord, Record

BODIES = 32 * 2**20
"""Bytes of bodies that a process holds; of further requests it remembers where they stand."""

Check = Callable[[Record, Protocol], object]
"""Decodes the request of a record, whose protocol is known, or raises SampleError."""

STRATA = 40_000
"""Strata above which memory would grow too much, and no set could stand for them."""

_SENT_HEADERS = sorted(HEADER_ALLOW_LIST)


class TrafficSketch:
    """All traffic, stratum by stratum; its size depends on the number of strata and not on that of the requests."""

    def __init__(self, *, per_stratum: int = 3, seed: int = 0) -> None:
        """Begin with no traffic.

        Args:
            per_stratum: how many different requests each stratum keeps at most.
            seed: another seed keeps other requests.

        Raises:
            SampleError: ``per_stratum`` is below 1.
        """
        if per_stratum < 1:
            raise SampleError(f"per_stratum is {per_stratum}: keep at least 1 request of each stratum")
        self.per_stratum = per_stratum
        self.seed = seed
        self.strata: dict[Stratum, BottomK] = {}
        self._names: dict[Stratum, Vocabulary] = {}
        self._values = OpenValues()
        self._key = str(seed).encode()
        self._held = 0
        self._ranks = per_stratum

    def add(self, stratum: Stratum, record: Record, place: Place, check: Check | None = None) -> None:
        """Count a request, and keep it if its hash is among the lowest of its stratum.

        Args:
            stratum: where it belongs.
            record: the request.
            place: where it can be read again.
            check: tells of a request that would be kept whether it is damaged; None: that is left to the end.
        """
        sketch = self._of(stratum)
        sketch.count += 1
        key = self.key(record)
        if not sketch.wants(key):
            return
        headers = {name: value for name, value in record.headers.items() if name.lower() in HEADER_ALLOW_LIST}
        kept, damaged = Kept(key, len(record.body), place, record._replace(headers=headers)), None
        if check:
            try:
                check(record, stratum.protocol)
            except SampleError as error:
                damaged = record.bad(str(error))
        self._keep(sketch, replace(kept, record=None, damaged=damaged) if damaged else kept)

    def merge(self, other: TrafficSketch) -> None:
        """Take in what another sketch has seen.

        Raises:
            SampleError: it was made with other parameters.
        """
        if (self.per_stratum, self.seed) != (other.per_stratum, other.seed):
            msg = "sketches can only be merged when they have the same per_stratum and seed"
            raise SampleError(msg)
        self._put_together(self._values.merge(other._values))
        other._put_together(self._values.free)
        for form, names in other._names.items():
            self._vocabulary(form).merge(names)
            self._forget_names(form)
        for stratum, theirs in other.strata.items():
            self._absorb(self._of(stratum), theirs)

    def groups(self) -> dict[Stratum, BottomK]:
        """Return the strata as they are called once all traffic is seen: those whose names tell nothing are one."""
        found: dict[Stratum, BottomK] = {}
        for stratum, called in told(self._names, {s: one.count for s, one in self.strata.items()}).items():
            found.setdefault(called, BottomK(self.per_stratum)).merge(self.strata[stratum])
        together: dict[Stratum, BottomK] = {}
        for stratum, called in settled({stratum: one.count for stratum, one in found.items()}).items():
            together.setdefault(called, BottomK(self.per_stratum)).merge(found[stratum])
        return together

    @property
    def requests(self) -> int:
        """Return the number of requests seen, without those known to be unusable."""
        return sum(sketch.requests for sketch in self.strata.values())

    def damage(self, notes: Mapping[bytes, BadRecord]) -> bool:
        """Take kept requests, by their hashes, for damaged.

        Return whether a stratum runs out of requests by that, though it had more.
        """
        hit = self._noted(notes, lambda kept, note: replace(kept, record=None, damaged=note))
        return any(sketch.runs_out for sketch in hit)

    def refuse(self, notes: Mapping[bytes, BadRecord]) -> None:
        """Take kept requests, by their hashes, for what cannot be used."""
        self._noted(notes, lambda kept, note: replace(kept, record=None, refused=note))

    def _noted(self, notes: Mapping[bytes, BadRecord], change: Callable[[Kept, BadRecord], Kept]) -> list[BottomK]:
        hit = [sketch for sketch in self.strata.values() if any(kept.key in notes for kept in sketch.kept)]
        for sketch in hit:
            sketch.kept = [change(kept, notes[kept.key]) if kept.key in notes else kept for kept in sketch.kept]
        return hit

    def unusable(self) -> Iterator[BadRecord]:
        """Yield the notes on requests that turned out to be none when they were decoded whole, or cannot be used."""
        for sketch in self.strata.values():
            yield from sketch.unusable

    def _of(self, stratum: Stratum) -> BottomK:
        sketch = self.strata.get(stratum)
        if sketch is not None:
            return sketch
        if stratum.variant:
            self._put_together(self._values.meet(stratum.variant))
            stratum = without(stratum, self._values.free)
        form = nameless(stratum)
        names = self._vocabulary(form)
        names.meet(stratum)
        self._forget_names(form)
        return self._room(stratum if names.told_apart else form)

    def _vocabulary(self, form: Stratum) -> Vocabulary:
        return self._names.setdefault(form, Vocabulary())

    def _forget_names(self, form: Stratum) -> None:
        """Put the strata of a nameless one together, if they are too many to be told apart."""
        names = self._names[form]
        if not names.overflows:
            return
        names.told_apart = False
        apart = [self.strata.pop(stratum) for stratum in names.strata if stratum in self.strata]
        names.strata.clear()
        names.names.clear()
        for sketch in apart:
            self._held -= sum(kept.size for kept in sketch.kept if kept.record)
            self._absorb(self._room(form), sketch)

    def _put_together(self, free: set[str]) -> None:
        """Put the strata together that facts of these names, which turned out to be data, have kept apart."""
        for form in [form for form in self._names if without(form, free) is not form] if free else ():
            names, target = self._names.pop(form), without(form, free)
            moved = {stratum: self.strata.pop(stratum) for stratum in {*names.strata, form} if stratum in self.strata}
            names.strata = {without(stratum, free) for stratum in names.strata}
            self._vocabulary(target).merge(names)
            for stratum, sketch in moved.items():
                self._held -= sum(kept.size for kept in sketch.kept if kept.record)
                self._absorb(self._room(without(stratum, free) if self._names[target].told_apart else target), sketch)
            self._forget_names(target)

    def _room(self, stratum: Stratum) -> BottomK:
        if stratum not in self.strata:
            if len(self.strata) >= STRATA:
                what = f"the traffic has more than {STRATA:,} combinations of shape, batch size and protocol"
                raise SampleError(f"{what}: put similar shapes together with --shapes buckets")
            self.strata[stratum] = BottomK(self.per_stratum)
        return self.strata[stratum]

    def _absorb(self, ours: BottomK, theirs: BottomK) -> None:
        ours.count += theirs.count
        for kept in theirs.kept:
            if ours.wants(kept.key):
                self._keep(ours, kept)

    def _keep(self, sketch: BottomK, kept: Kept) -> None:
        """Keep a request, and its body if there is room for all bodies of its rank: the lowest hashes are chosen first.

        Spare ones are kept without.
        """
        self._held += kept.size if kept.record else 0
        for gone in sketch.keep(kept):
            self._held -= gone.size if gone.record else 0
        self._strip(sketch)
        while self._held > BODIES and self._ranks > 1:
            self._ranks -= 1
            for each in self.strata.values():
                self._strip(each)
        if self._held > BODIES and kept in sketch.kept:
            self._let_go(sketch, sketch.kept.index(kept))

    def _strip(self, sketch: BottomK) -> None:
        """Let go of the bodies of the ranks for which there is no room."""
        for index in sketch.intact[self._ranks :]:
            self._let_go(sketch, index)

    def _let_go(self, sketch: BottomK, index: int) -> None:
        kept = sketch.kept[index]
        if kept.record is not None:
            self._held -= kept.size
            sketch.kept[index] = replace(kept, record=None)

    def key(self, record: Record) -> bytes:
        """Return the hash that chooses: a seeded blake2b of the identity, which is all that is sent."""
        return hashlib.blake2b(identity(record), digest_size=16, key=self._key).digest()


def identity(record: Record) -> bytes:
    """Return a digest of what a request sends: equal requests have equal ones.

    The body is digested by XXH3, at the memory's speed; blake2b alone would take longer than all else that is done.
    """
    headers = {name.lower(): value for name, value in record.headers.items()}
    sent = (record.protocol, record.path, *map(headers.get, _SENT_HEADERS))
    body = xxhash.xxh3_128_digest(record.body) if xxhash else hashlib.blake2b(record.body, digest_size=16).digest()
    return body + repr(sent).encode()
