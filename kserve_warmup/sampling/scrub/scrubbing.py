"""Scrub rules at work: how often each was applied, and which requests they could not be applied to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.codec import Body
from kserve_warmup.protocols.edits import UncoveredError
from kserve_warmup.samples.sample import Sample
from kserve_warmup.sampling.scrub.scrubber import Scrubber
from kserve_warmup.views.figures import count

_NAMED = 5

_REASONS = 20
"""Reasons that are told apart: a server's requests may bring one each."""

_LONGEST = 200

Scrubbed = tuple[Sample, tuple[int, ...]]
"""A request after its scrubbing and, for each rule, the number of places where it was applied."""


class Scrubbing:
    """One run of a scrubber.

    Attributes:
        tried: requests it was tried on.
        failures: why some of them could not be scrubbed, and how many each.
    """

    def __init__(self, scrubber: Scrubber) -> None:
        """Begin with no request."""
        self.scrubber = scrubber
        self.tried = 0
        self.failures: Counter[str] = Counter()
        self._found = [0] * len(scrubber.rules)

    def __call__(self, sample: Sample, body: Body | None = None) -> Scrubbed:
        """Return a scrubbed request, and where the rules were applied; ``body`` is its own, if it is parsed already.

        Raises:
            UncoveredError: ``strict`` is set and there is text that no rule covers.
            SampleError: the request cannot be scrubbed, which is counted.
        """
        self.tried += 1
        applied = [0] * len(self._found)
        try:
            return self.scrubber(sample, applied, body), tuple(applied)
        except UncoveredError:
            raise
        except SampleError as error:
            reason = str(error)[:_LONGEST]
            self.failures[reason if reason in self.failures or len(self.failures) < _REASONS else "other reasons"] += 1
            raise SampleError(f"could not be scrubbed: {reason}") from None
        finally:
            self._found = list(map(sum, zip(self._found, applied, strict=True)))

    def attempt(self, sample: Sample) -> Scrubbed | str:
        """Return what a call returns, or why the request cannot be scrubbed.

        Raises:
            UncoveredError: ``strict`` is set and there is text that no rule covers.
        """
        try:
            return self(sample)
        except UncoveredError:
            raise
        except SampleError as error:
            return str(error)

    def unused(self) -> list[str]:
        """Return the rules that were never applied to any request and are not optional."""
        rules = zip(self.scrubber.rules, self._found, strict=True)
        return [str(rule) for rule, times in rules if not times and not rule.optional]

    def check(self) -> None:
        """Refuse rules that did nothing: what they are to take out may still be there, under another name.

        Raises:
            SampleError: a rule was never applied and is not optional.
        """
        unused = self.unused()
        if not unused:
            return
        more = f" and {len(unused) - _NAMED} more" if len(unused) > _NAMED else ""
        named = ", ".join(f"'{rule}'" for rule in unused[:_NAMED])
        because = f" ({first_failure(self.failures)})" if self.failures else ""
        raise SampleError(
            f"scrub rules never applied to any of {count(self.tried, 'request')}: {named}{more}{because}; "
            "correct what they look for, or mark them optional: true"
        )

    def facts(self, stored: Iterable[Scrubbed]) -> dict[str, Any]:
        """Return what was done to the requests that are stored, for a manifest."""
        columns = zip(*(places for _, places in stored), strict=True)
        done = [
            {"rule": str(rule), "requests": sum(map(bool, places)), "places": sum(places)}
            for rule, places in zip(self.scrubber.rules, columns, strict=True)
        ]
        failed = {"unscrubbed": dict(self.failures.most_common())} if self.failures else {}
        return {"scrub": done, "strict": self.scrubber.strict, **failed}


def merged(scrubbed: Iterable[Scrubbed]) -> list[Scrubbed]:
    """Return requests each once: what rules have made equal is one, with the weight of all."""
    kept: dict[str, Scrubbed] = {}
    for sample, places in scrubbed:
        weight = kept[sample.id][0].weight if sample.id in kept else 0.0
        kept[sample.id] = sample.with_weight(sample.weight + weight), places
    return list(kept.values())


def first_failure(failures: Mapping[str, int]) -> str:
    """Return how many requests could not be scrubbed, and why the most of them."""
    reason = max(failures, key=lambda reason: failures[reason])
    return f"{count(sum(failures.values()), 'request')} could not be scrubbed: {reason}"
