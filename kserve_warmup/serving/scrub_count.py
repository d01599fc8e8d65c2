"""Scrub rules in a server: how often each was applied to what is recorded, and a loud word on those that never were."""

from __future__ import annotations

import logging

from kserve_warmup.protocols.codec import Body
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.scrub import Scrubber
from kserve_warmup.samples.scrubbing import Scrubbing
from kserve_warmup.serving import metrics

logger = logging.getLogger("kserve.warmup")

ENOUGH = 100
"""Requests after which a rule that was never applied is told, before the end."""


class ScrubCount:
    """One recorder's use of its rules."""

    def __init__(self, model: str, scrubber: Scrubber) -> None:
        """Begin with no request, and with every rule at zero in the metrics."""
        self._model = model
        self._run = Scrubbing(scrubber)
        self._names = [str(rule) for rule in scrubber.rules]
        self._counters = {name: metrics.CAPTURE_SCRUBBED.labels(model, name) for name in self._names}
        self._told: set[str] = set()

    def __call__(self, sample: Sample, body: Body) -> Sample:
        """Return a request without its private content; ``body`` is its own, parsed.

        Raises:
            SampleError: it cannot be scrubbed, or has text that no rule covers.
        """
        kept, places = self._run(sample, body)
        for name in {name for name, number in zip(self._names, places, strict=True) if number}:
            self._counters[name].inc()
        return kept

    def tell(self, *, end: bool = False) -> None:
        """Log each rule that is not optional and was never applied, once, when there were requests enough.

        Args:
            end: there will be no more requests.
        """
        if self._run.tried < (1 if end else ENOUGH):
            return
        for rule in self._run.unused():
            if rule not in self._told:
                self._told.add(rule)
                line = (
                    "%s: scrub rule '%s' was never applied to any of %d requests: they may hold what it is to take out"
                )
                logger.error(line, self._model, rule, self._run.tried)
