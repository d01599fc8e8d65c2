"""One model's requests on their way to the disk: taken at once, written later, dropped rather than waited for."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import Counter

from kserve_warmup.capture.ring import Ring
from kserve_warmup.errors import SampleError
from kserve_warmup.sampling.formats.jsonl import line
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.sampling.place import parsed
from kserve_warmup.settings import WarmupSettings

if TYPE_CHECKING:
    from kserve_warmup.protocols.codec import Body
    from kserve_warmup.samples.sample import Sample
    from kserve_warmup.sampling.scrub.scrubber import Scrubber

logger = logging.getLogger("kserve.warmup")

CAPTURED = Counter("kserve_warmup_captured", "Requests recorded for the next start.", ("model_name",))
DROPPED = Counter("kserve_warmup_capture_dropped", "Requests not recorded.", ("model_name", "reason"))
SCRUBBED = Counter(
    "kserve_warmup_capture_scrubbed", "Recorded requests that a scrub rule was applied to.", ("model_name", "rule")
)
DROP_REASONS = ("queue_full", "too_large", "refused", "disk")

ENOUGH = 100
"""Requests after which a scrub rule that was never applied is told, before the end."""

QUEUE_BYTES = 32 << 20
"""Bodies that wait for the thread take no more memory than this, for one model."""

LARGEST = 4
"""A body that takes more than this part of the disk's limit would leave too few others there."""

BLOCK = 1 << 17
"""Bytes that are written at once: what is still in the processor's cache."""


class Recorder:
    """Takes the requests of one model in one process."""

    def __init__(self, model: str, folder: Path, settings: WarmupSettings, scrubber: Scrubber | None = None) -> None:
        """Take where and how; nothing is written before the first request."""
        self.settings, self._rate = settings, settings.capture_rate
        self._scrub = _ScrubCount(model, scrubber) if scrubber else None
        max_bytes = settings.capture_max_mb << 20
        self._ring = Ring(folder, max_bytes)
        self.max_bytes = min(QUEUE_BYTES, max_bytes // LARGEST)
        self._captured = CAPTURED.labels(model)
        self._dropped = {reason: DROPPED.labels(model, reason) for reason in DROP_REASONS}
        self._queue: list[Callable[[], Record]] = []
        self._queued = 0
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._complained: set[str] = set()

    def wanted(self) -> bool:
        """Draw whether a request is among those that are recorded."""
        return self._rate >= 1 or random.random() < self._rate  # noqa: S311  (a sample, not a secret)

    def offer(self, record: Record) -> None:
        """Take a request that was answered well, or drop and count it; never wait for the disk."""
        self.offer_later(len(record.body), lambda: record)

    def offer_later(self, size: int, make: Callable[[], Record]) -> None:
        """Do as :meth:`offer`, but leave to the thread what it takes to make the record of ``size`` bytes."""
        if size > self.max_bytes:
            self._dropped["too_large"].inc()
            return
        with self._lock:
            room = self._queued + size <= QUEUE_BYTES
            if room:
                self._queue.append(make)
                self._queued += size
        if not room:
            self._dropped["queue_full"].inc()

    def flush(self) -> None:
        """Write what has been taken so far."""
        with self._writing:
            with self._lock:
                waiting, self._queue, self._queued = self._queue, [], 0
            lines: list[bytes] = []
            pending = 0
            for make in waiting:
                if (written := self._line(make)) is not None:
                    lines.append(written)
                    pending += len(written)
                if pending > BLOCK:
                    self._write(lines)
                    lines, pending = [], 0
            self._write(lines)
            if self._scrub:
                self._scrub.tell()

    def _write(self, lines: list[bytes]) -> None:
        try:
            self._ring.append(lines)
        except (OSError, SampleError) as error:
            self._dropped["disk"].inc(len(lines))
            why = error.strerror if isinstance(error, OSError) else None
            self._complain("disk", f"cannot write to {self._ring.folder}: {why or error}")
        else:
            self._captured.inc(len(lines))

    def close(self) -> None:
        """Write what there is and end the file."""
        self.flush()
        with self._writing:
            self._ring.close()
            if self._scrub:
                self._scrub.tell(end=True)

    def _line(self, make: Callable[[], Record]) -> bytes | None:
        """Return what is written of a record, None when it must not be."""
        try:
            record = make()
            if self._scrub is None:
                return line(record)
            body = parsed(record)
            kept = self._scrub(body.sample(record.path), body)
            return line(Record("", 0, kept.body, kept.headers, kept.path, kept.protocol, record.status, record.time))
        except Exception as error:  # noqa: BLE001  (an odd request must cost itself and no other)
            self._dropped["refused"].inc()
            self._complain("refused", str(error) if isinstance(error, SampleError) else type(error).__name__)
            return None

    def _complain(self, reason: str, message: str) -> None:
        """Log the first drop of each kind; the metrics count the others."""
        if reason not in self._complained:
            self._complained.add(reason)
            logger.warning("capture drops requests (see kserve_warmup_capture_dropped_total): %s", message)


class _ScrubCount:
    """Scrub rules in a server: how often each is applied, and a loud word on those that never were."""

    def __init__(self, model: str, scrubber: Scrubber) -> None:
        """Begin with no request, and with every rule at zero in the metrics."""
        from kserve_warmup.sampling.scrub.scrubbing import Scrubbing

        self._model = model
        self._run = Scrubbing(scrubber)
        self._names = [str(rule) for rule in scrubber.rules]
        self._counters = {name: SCRUBBED.labels(model, name) for name in self._names}
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
