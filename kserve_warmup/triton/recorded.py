"""The generated part that a config has: what it was made from, where its counts came from, and whether it is whole.

What ``--check`` and a later run go by: an option that is left out stays as it was. Counts of a budget or of
``--count`` are worked out anew when samples change; measured ones are of those samples, and the default follows them.
A part of an earlier release, which ran every block 50 times by default, is out of date, unless ``--count 50`` is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kserve_warmup.triton import files, pbtxt
from kserve_warmup.triton.counts import Cost, total
from kserve_warmup.triton.encode import OWN_FILE
from kserve_warmup.triton.origin import FORMER, Origin, read_comment

FORMAT = 1
"""Raised when equal samples and options would give other blocks than before."""

_CALIBRATED = Origin(calibrated=True)


@dataclass(frozen=True)
class Keys:
    """What stands for everything that blocks are made from; bodies are in it by the manifest's hashes."""

    base: bytes
    traffic: bytes
    options: tuple[Any, ...]

    def key(self, origin: Origin) -> str:
        """Return the key of blocks whose counts come from ``origin``."""
        options = hashlib.blake2b(repr((FORMAT, origin.digested, *self.options)).encode(), digest_size=16)
        digest = hashlib.blake2b(self.base, digest_size=8)
        digest.update(self.traffic + options.digest())
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
        origin = self.origin or _CALIBRATED
        if not origin.calibrated or self.span.key != keys.key(origin) or self.edited:
            return None
        blocks = pbtxt.own_blocks(self.text)
        names = [block.name for block in blocks]
        whole = self.costs is not None and len(self.costs) == len(names)
        costs = dict(zip(names, self.costs or (), strict=True)) if whole else None
        return Counting(origin, {block.name: max(1, block.count) for block in blocks}, costs)


def choose_counting(model: str, options: Any, found: Recorded | None, keys: Keys) -> Counting:
    """Return where a model's counts come from: the options, or else what is recorded, or else the default."""
    asked = Origin(count=options.count, max_seconds=options.max_seconds)
    if model in options.counts:
        return Counting(replace(asked, calibrated=True), options.counts[model], options.costs.get(model))
    if found is None or options.count is not None or not options.keep:
        return Counting(asked)
    recorded = found.origin or Origin()
    if found.span.key != keys.key(recorded) and found.edited:  # the origin itself may have been
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
    span = found.span
    if found.edited:
        return "the generated part was edited"
    if span.key != keys.key(origin):
        return _changed(found, origin, keys)
    names = sorted(set(OWN_FILE.findall(span.inside(found.text).decode("ascii", "replace"))))
    damaged = next((name for name in names if not files.is_whole(folder, name)), None)
    return f"{files.WARMUP}/{damaged} is missing or was changed" if damaged else ""


def _changed(found: Recorded, origin: Origin, keys: Keys) -> str:
    key = found.span.key
    if found.origin is None and key == keys.key(Origin(count=FORMER)):
        return f"its counts are an earlier release's, {FORMER} for every block, which --count {FORMER} keeps"
    if found.origin is not None and key == keys.key(found.origin):
        return f"its counts are '{found.origin}', not '{origin}'"
    return "samples, options or configuration changed"
