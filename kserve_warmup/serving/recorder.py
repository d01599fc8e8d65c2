"""One model's requests on their way to the disk: taken at once, written later, dropped rather than waited for."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.place import parsed
from kserve_warmup.samples.ring import Ring
from kserve_warmup.samples.sources.jsonl import line
from kserve_warmup.samples.sources.record import Record
from kserve_warmup.serving import metrics
from kserve_warmup.serving.capture import scrubber_of
from kserve_warmup.settings import WarmupSettings

if TYPE_CHECKING:
    from kserve_warmup.serving.scrub_count import ScrubCount

logger = logging.getLogger("kserve.warmup")

QUEUE_BYTES = 32 << 20
"""Bodies that wait for the thread take no more memory than this, for one model."""

LARGEST = 4
"""A body that takes more than this part of the disk's limit would leave too few others there."""

BLOCK = 1 << 17
"""Bytes that are written at once: what is still in the processor's cache."""


class Recorder:
    """Takes the requests of one model in one process."""

    def __init__(self, model: str, folder: Path, settings: WarmupSettings) -> None:
        """Take where and how; nothing is written before the first request.

        Raises:
            SampleError: the scrub rules cannot be used.
        """
        self._rate = settings.capture_rate
        self._scrub: ScrubCount | None = None
        if scrubber := scrubber_of(settings):
            from kserve_warmup.serving.scrub_count import ScrubCount

            self._scrub = ScrubCount(model, scrubber)
        max_bytes = settings.capture_max_mb << 20
        self._ring = Ring(folder, max_bytes)
        self.max_bytes = min(QUEUE_BYTES, max_bytes // LARGEST)
        self._captured = metrics.CAPTURED.labels(model)
        self._dropped = {reason: metrics.CAPTURE_DROPPED.labels(model, reason) for reason in metrics.DROP_REASONS}
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
