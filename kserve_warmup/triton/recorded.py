"""The generated part that a config has: what it was made from, where its counts came from, and whether it is whole.

What ``--check`` and a later run go by: an option that is left out stays as it was. Counts of a budget or of
``--count`` are worked out anew when samples change; measured ones are of those samples, and the default follows them.
A part of an earlier release, which ran every block 50 times by default, is out of date, unless ``--count 50`` is given.

Where counts came from stands in a comment above the blocks:

    # counts: default: 20 calls of 43 rows an instance; latency is not known
    # counts: default within 5 s: 20 calls of 43 rows an instance; latency is not known, so a row is taken for 0.1 s
    # counts: calibrated: 24 calls of 51 rows an instance, 1.93 s
    # ms of each block's first call, and of later ones: 812.3 2.1, 640.2 8.3
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton import pbtxt
from kserve_warmup.triton import warmup_files as files
from kserve_warmup.triton.counts import ROW_SECONDS, Cost, total
from kserve_warmup.triton.encode import OWN_FILE

FORMAT = 1
"""Raised when equal samples and options would give other blocks than before."""

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


def sent(samples: SampleSet) -> bytes:
    """Return a digest of the requests that can be sent, and of which kinds are the more frequent ones.

    When, from what and how they were chosen is not in it, nor by how much one is more frequent than another: the same
    requests chosen a day later are the same.
    """
    heaviest: dict[str, str] = {}
    shares: dict[str, float] = {}
    for sample in samples:
        inputs = [(i.name, i.datatype, tuple(i.shape)) for i in sample.signature.inputs]
        kind = repr((sample.batch, sample.signature.batched, inputs))
        heaviest.setdefault(f"{sample.protocol} {kind}", sample.id)
        shares[kind] = shares.get(kind, 0.0) + sample.weight
    told = (list(heaviest.items()), sorted(shares, key=lambda kind: -shares[kind]))
    return hashlib.blake2b(repr(told).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Keys:
    """What stands for everything that blocks are made from: ``options``, the rest of the file, and the requests."""

    base: bytes
    samples: SampleSet
    options: tuple[Any, ...]

    def key(self, origin: Origin) -> str:
        """Return the key of blocks whose counts come from ``origin``."""
        return self._key(origin, self._sent)

    def fits(self, span: pbtxt.Span, origin: Origin) -> bool:
        """Return whether a part was made from these; earlier releases took the manifest as it is for the requests."""
        return span.key == self.key(origin) or span.key == self._key(origin, self.samples.digest)

    @cached_property
    def _sent(self) -> bytes:
        return sent(self.samples)

    def _key(self, origin: Origin, requests: bytes) -> str:
        plain = origin.count is not None and origin.max_seconds is None  # as earlier releases wrote it
        options = (FORMAT, origin.count if plain else str(origin), *self.options)
        digest = hashlib.blake2b(self.base, digest_size=8)
        digest.update(requests + hashlib.blake2b(repr(options).encode(), digest_size=16).digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class Counting:
    """Where counts come from; and those that were measured, with what each block costs, by the blocks' names."""

    origin: Origin
    counts: Mapping[str, int] | None = None
    costs: Mapping[str, Cost] | None = None

    @property
    def seconds(self) -> float | None:
        """Return what an instance's blocks take; None if it is not known."""
        if not self.counts or self.costs is None or self.counts.keys() - self.costs.keys():
            return None
        return total(list(self.counts.values()), [self.costs[name] for name in self.counts])


@dataclass(frozen=True)
class Recorded:
    """A generated part; ``origin`` is None where an earlier release wrote it."""

    text: bytes = field(repr=False)
    span: pbtxt.Span
    origin: Origin | None
    costs: list[Cost] | None

    @classmethod
    def read(cls, text: bytes) -> Recorded | None:
        """Return the generated part of ``text``, if it has one.

        Raises:
            TritonConfigError: The marker comments were damaged.
        """
        span = pbtxt.own_span(text)
        return cls(text, span, *read_comment(span.inside(text))) if span else None

    @property
    def edited(self) -> bool:
        """Whether somebody changed it after it was generated."""
        return self.span.edited(self.text)

    def measured(self, keys: Keys) -> Counting | None:
        """Return the counts that were measured for the same samples; None if they weren't, or were edited."""
        origin = self.origin or Origin(calibrated=True)
        if not origin.calibrated or self.edited or not keys.fits(self.span, origin):
            return None
        blocks = pbtxt.own_blocks(self.text)
        names = [block.name for block in blocks]
        whole = self.costs is not None and len(self.costs) == len(names)
        costs = dict(zip(names, self.costs or (), strict=True)) if whole else None
        return Counting(origin, {block.name: max(1, block.count) for block in blocks}, costs)


def choose_counting(given: Counting, found: Recorded | None, keys: Keys, *, keep: bool) -> Counting:
    """Return where counts come from: what is given, or else, to ``keep`` that, what is recorded."""
    asked = given.origin
    if given.counts is not None or found is None or asked.count is not None or not keep:
        return given
    recorded = found.origin or Origin()
    if found.edited and not keys.fits(found.span, recorded):  # the origin itself may have been
        recorded = Origin()
    seconds = recorded.max_seconds if asked.max_seconds is None else asked.max_seconds
    measured = found.measured(keys)
    if measured is None:
        return Counting(Origin(count=recorded.count, max_seconds=seconds))
    took = measured.seconds
    if asked.max_seconds is None or (took is not None and took <= asked.max_seconds):
        return measured
    return replace(measured, origin=replace(measured.origin, max_seconds=seconds))


def out_of_date(found: Recorded | None, origin: Origin, keys: Keys, folder: Path) -> str:
    """Return why a model's warm-up is out of date for counts from ``origin``, or nothing when it is not."""
    if found is None:
        return "it has no generated warm-up"
    if found.edited:
        return "the generated part was edited"
    if not keys.fits(found.span, origin):
        if found.origin is None and keys.fits(found.span, Origin(count=FORMER)):
            return f"its counts are an earlier release's, {FORMER} for every block, which --count {FORMER} keeps"
        if found.origin is not None and keys.fits(found.span, found.origin):
            return f"its counts are '{found.origin}', not '{origin}'"
        return "samples, options or configuration changed"
    names = sorted(set(OWN_FILE.findall(found.span.inside(found.text).decode("ascii", "replace"))))
    damaged = next((name for name in names if not files.is_whole(folder, name)), None)
    return f"{files.WARMUP}/{damaged} is missing or was changed" if damaged else ""


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
