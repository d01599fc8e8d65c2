"""Facts of requests that may choose a path through a model or may be data: told apart by how many values they have.

``task`` with three values is a choice, ``user`` with thousands is none. Which it is shows in the traffic as a whole: a
key with too many values makes no strata, and those that were kept apart by it are put together. What comes out depends
on which values there are, not on the order in which they come or on the processes that have met them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from kserve_warmup.protocols.variant import Variant, is_open
from kserve_warmup.samples.sample import Stratum

_MANY = 16
"""Values that a choice may have."""

_KEYS = 64
"""Keys of open facts beyond which keys themselves are data."""

_TOGETHER = 32
"""Strata that open facts may make of requests that are alike otherwise."""

_FEW = 4
"""Values that are told apart however seldom each is met."""


@dataclass(slots=True)
class OpenValues:
    """The values that each key was met with, as long as they are few; ``free`` has the keys that are no choice."""

    met: dict[str, set[str]] = field(default_factory=dict)
    free: set[str] = field(default_factory=set)

    def meet(self, variant: Variant) -> set[str]:
        """Take in what a request has; return the keys that turn out to be no choice by it."""
        return self._take((name, {value}) for name, value in variant)

    def merge(self, other: OpenValues) -> set[str]:
        """Take in what another has met; return the keys that turn out to be no choice by it."""
        freed = other.free - self.free
        self.free |= freed
        for name in freed:
            self.met.pop(name, None)
        return freed | self._take(other.met.items())

    def _take(self, facts: Iterable[tuple[str, set[str]]]) -> set[str]:
        freed: set[str] = set()
        for name, values in facts:
            if not is_open(name) or name in self.free:
                continue
            known = self.met.setdefault(name, set())
            known |= values
            if len(known) > _MANY:
                freed.add(name)
        if len(self.met) > _KEYS:
            freed |= set(self.met)
        for name in freed:
            self.met.pop(name, None)
        self.free |= freed
        return freed


def without(stratum: Stratum, keys: Collection[str]) -> Stratum:
    """Return a stratum without the facts of these names."""
    if not keys or not any(name in keys for name, _ in stratum.variant):
        return stratum
    return stratum._replace(variant=tuple(fact for fact in stratum.variant if fact[0] not in keys))


def open_names(stratum: Stratum) -> frozenset[str]:
    """Return the names of a stratum's open facts."""
    return frozenset(name for name, _ in stratum.variant if is_open(name))


def settled(requests: Mapping[Stratum, int]) -> dict[Stratum, Stratum]:
    """Return for each stratum the one that it belongs to once all traffic is seen.

    Of strata that are alike but for open facts those keys go first that have the most values, until the strata are few
    and their values recur.

    Args:
        requests: how many each stratum has.
    """
    alike: dict[Stratum, list[Stratum]] = defaultdict(list)
    for stratum in requests:
        alike[without(stratum, open_names(stratum))].append(stratum)
    found = {}
    for group in alike.values():
        gone: set[str] = set()
        while key := _next_to_go([(without(s, gone), requests[s]) for s in group]):
            gone.add(key)
        found.update({stratum: without(stratum, gone) for stratum in group})
    return found


def _next_to_go(counted: list[tuple[Stratum, int]]) -> str | None:
    """Return the key that tells the least of these strata, None if all are worth telling apart."""
    values: dict[str, set[str]] = defaultdict(set)
    met: Counter[str] = Counter()
    for stratum, number in counted:
        for name, value in stratum.variant:
            if is_open(name):
                values[name].add(value)
                met[name] += number
    seldom = {name for name in values if len(values[name]) > _FEW and met[name] < 2 * len(values[name])}
    crowded = len({stratum for stratum, _ in counted}) > _TOGETHER
    among = seldom or (set(values) if crowded else set())
    return max(among, key=lambda name: (len(values[name]), name), default=None)
