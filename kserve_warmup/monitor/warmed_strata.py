"""Which requests a warm-up stood for: judged so that no request like a sample of it is ever taken for a new kind."""

from __future__ import annotations

from collections.abc import Iterable

from kserve_warmup.protocols.variant import ANSWER, MODEL
from kserve_warmup.samples.open_values import open_names, without
from kserve_warmup.samples.sample import ANY_NAME, Stratum
from kserve_warmup.samples.strata import nameless


class WarmedStrata:
    """The strata of one model that were warmed."""

    def __init__(self, strata: Iterable[Stratum]) -> None:
        """Take them as the samples have them."""
        self._strata = {_plain(stratum) for stratum in strata}
        self._facts = {name for stratum in self._strata for name in open_names(stratum)}
        self._any_name = {nameless(s) for s in self._strata if any(i.name == ANY_NAME for i in s.signature.inputs)}

    def __contains__(self, stratum: Stratum) -> bool:
        """Return whether a request of ``stratum`` is of a warmed kind."""
        plain = _plain(stratum)
        plain = without(plain, open_names(plain) - self._facts)  # what differs in every request tells no kind
        return plain in self._strata or nameless(plain) in self._any_name


def _plain(stratum: Stratum) -> Stratum:
    """Return the stratum without the model that the request names, which a set leaves out if all name the same.

    And without the length of its answer, which is no other way through the server.
    """
    return stratum._replace(variant=tuple(fact for fact in stratum.variant if fact[0] not in (MODEL, ANSWER)))
