"""Which requests are alike: the one grouping of them all, and names of inputs that tell no strata apart.

Some clients name an input after a user or a request. Such names are a vocabulary that does not recur: every request
would be a stratum of its own. So strata that differ in names alone are looked at together, and where their names do not
recur, they are one. That depends on which strata there are and how many requests each has; not on the order in which
they come, and not on how they are split over processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kserve_warmup.protocols.variant import MODEL
from kserve_warmup.samples.sample import ANY_NAME, Sample, Signature, Stratum, TensorSpec

_FEW = 8
"""Sets of names that a model may well have, however seldom each is met."""

_MANY = 64
"""Names, and sets of them, that no model has for inputs of the same types and shapes, however many may be left out."""

_MOST = 1000
"""Sets of names that are told apart, even if they are made of few."""


def by_stratum(samples: Iterable[Sample]) -> dict[Stratum, list[Sample]]:
    """Return the samples by stratum, the largest share of the traffic first; each stratum's in the order given."""
    groups: dict[Stratum, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.stratum, []).append(sample)
    return dict(sorted(groups.items(), key=lambda group: -share(group[1])))


def without_model(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Return the samples of a set; if all that name a model name the same one, it chooses no path and is left out."""
    given = tuple(samples)
    if len({value for sample in given for name, value in sample.variant if name == MODEL}) != 1:
        return given
    return tuple(sample.but(variant=tuple(f for f in sample.variant if f[0] != MODEL)) for sample in given)


def share(samples: Iterable[Sample]) -> float:
    """Return the part of the traffic (0 to 1) that samples stand for."""
    return sum(sample.weight for sample in samples)


def nameless(stratum: Stratum) -> Stratum:
    """Return what strata have in common that differ in the names of their inputs alone."""
    return stratum._replace(signature=stratum.signature.naming(()))


@dataclass(slots=True)
class Vocabulary:
    """The names of inputs in the strata of one nameless stratum.

    Attributes:
        strata: those that were met, as long as they are told apart.
        names: of all inputs, as long as strata are told apart.
        common: inputs that all of the strata have, by whose names they are called.
        others: what further inputs some of them have, under any name.
        told_apart: whether names tell strata apart; once they don't, they never do again.
    """

    strata: set[Stratum] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    common: frozenset[TensorSpec] | None = None
    others: set[TensorSpec] = field(default_factory=set)
    told_apart: bool = True

    def meet(self, stratum: Stratum) -> None:
        """Take in a stratum."""
        inputs = frozenset(stratum.signature.inputs)
        self.merge(Vocabulary({stratum}, {spec.name for spec in inputs}, inputs))

    def merge(self, other: Vocabulary) -> None:
        """Take in all that another one has met, which is one stratum at least."""
        theirs = other.common or frozenset()
        ours = theirs if self.common is None else self.common
        self.common = ours & theirs
        self.others |= other.others | {replace(spec, name=ANY_NAME) for spec in ours ^ theirs}
        self.told_apart &= other.told_apart
        if self.told_apart:
            self.strata |= other.strata
            self.names |= other.names

    def called(self, form: Stratum) -> Stratum:
        """Return the nameless stratum with the names that all of its strata have."""
        inputs = tuple(sorted({*(self.common or ()), *self.others}))
        return form._replace(signature=Signature(inputs, form.signature.batched))

    @property
    def overflows(self) -> bool:
        """Return whether there are more strata, of more names, than could be worth telling apart."""
        number = len(self.strata)
        return not self.told_apart or number > _MOST or (number > _MANY and len(self.names - self.fixed) > _MANY)

    @property
    def fixed(self) -> set[str]:
        """Return the names that all strata have, of inputs of the same type and shape."""
        return {spec.name for spec in self.common or ()}

    def recurs(self, requests: Mapping[Stratum, int]) -> bool:
        """Return whether names are met again: twice at least on the average, or they are few."""
        if len(self.strata) <= _FEW:
            return True
        met: Counter[str] = Counter()
        for stratum in self.strata:
            for name in {spec.name for spec in stratum.signature.inputs} - self.fixed:
                met[name] += requests[stratum]
        return 2 * len(met) <= met.total()


def told(vocabularies: Mapping[Stratum, Vocabulary], requests: Mapping[Stratum, int]) -> dict[Stratum, Stratum]:
    """Return for each stratum that was counted the one that it belongs to, called by what recurs.

    Args:
        vocabularies: the names in each nameless stratum.
        requests: how many each stratum has; where names are not told apart, that is the nameless stratum.
    """
    found = {}
    for form, names in vocabularies.items():
        apart = names.told_apart and names.recurs(requests)
        for stratum in names.strata if names.told_apart else (form,):
            found[stratum] = stratum if apart else names.called(form)
    return found
