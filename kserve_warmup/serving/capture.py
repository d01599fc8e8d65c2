"""Record a model's own traffic as it came over the wire, for the next start to warm with.

A request costs the look at its path, a drawn number, and for those that are kept two small wrappers and a list's
append. Everything else, scrubbing included, happens in a thread. What it cannot take in time is dropped and counted:
a record is whole or not there, and no request ever waits.
"""

from __future__ import annotations

import atexit
import logging
import random
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.digest import decoded
from kserve_warmup.samples.ring import Ring
from kserve_warmup.samples.sample import Protocol, Sample
from kserve_warmup.samples.scrub import Scrubber
from kserve_warmup.samples.sources.jsonl import line
from kserve_warmup.samples.sources.record import Record
from kserve_warmup.samples.traffic import sample_traffic
from kserve_warmup.serving import metrics
from kserve_warmup.settings import WarmupSettings

logger = logging.getLogger("kserve.warmup")

QUEUE_BYTES = 32 << 20
"""Bodies that wait for the thread take no more memory than this, for one model."""

LARGEST = 4
"""A body that takes more than this part of the disk's limit would leave too few others there."""

BLOCK = 1 << 17
"""Bytes that are written at once: what is still in the processor's cache."""

PERIOD = 0.25
"""Seconds between two looks of the thread at the queue: waking it for each request would cost the request time."""


def folder_of(settings: WarmupSettings, model: str) -> Path | None:
    """Return where ``model``'s requests are recorded, None when they are not."""
    if settings.capture_dir is None:
        return None
    name = quote(model, safe="")
    return settings.capture_dir / (f"%2E{name[1:]}" if name.startswith(".") else name)  # neither hidden nor ".."


def recorded_samples(settings: WarmupSettings, model: str) -> tuple[Sample, ...]:
    """Return what stands for the traffic that earlier processes have recorded; nothing if there is none."""
    folder = folder_of(settings, model)
    if folder is None or not folder.is_dir():
        return ()
    try:
        samples, tally = sample_traffic([folder], model, form="jsonl", max_bad=1.0)
    except SampleError as error:
        logger.warning("%s: nothing recorded that could be used: %s", model, error)
        return ()
    logger.info("%s: %d samples of %d recorded requests in %s", model, len(samples), tally.requests, folder)
    return tuple(samples)


class Recorder:
    """Takes the requests of one model in one process."""

    def __init__(self, model: str, folder: Path, settings: WarmupSettings) -> None:
        """Start the thread.

        Raises:
            SampleError: the scrub rules cannot be used.
        """
        self._rate = settings.capture_rate
        self._scrubber = Scrubber.load(settings.capture_scrub.split(",") if settings.capture_scrub else [])
        max_bytes = settings.capture_max_mb << 20
        self._ring = Ring(folder, max_bytes)
        self.max_bytes = min(QUEUE_BYTES, max_bytes // LARGEST)
        self._captured = metrics.CAPTURED.labels(model)
        self._dropped = {reason: metrics.CAPTURE_DROPPED.labels(model, reason) for reason in metrics.DROP_REASONS}
        self._queue: list[Record] = []
        self._queued = 0
        self._lock, self._writing, self._stop = threading.Lock(), threading.Lock(), threading.Event()
        self._complained: set[str] = set()
        threading.Thread(target=self._work, name="kserve-warmup-capture", daemon=True).start()
        atexit.register(self.close)

    def wanted(self) -> bool:
        """Draw whether a request is among those that are recorded."""
        return self._rate >= 1 or random.random() < self._rate  # noqa: S311  (a sample, not a secret)

    def offer(self, protocol: Protocol, body: bytes, headers: dict[str, str], path: str | None) -> None:
        """Take a request that was answered well, or drop and count it; never wait for the disk."""
        if len(body) > self.max_bytes:
            self._dropped["too_large"].inc()
            return
        record = Record("", 0, body, headers, path, protocol, 200, time.time())
        with self._lock:
            room = self._queued + len(body) <= QUEUE_BYTES
            if room:
                self._queue.append(record)
                self._queued += len(body)
        if not room:
            self._dropped["queue_full"].inc()

    def flush(self) -> None:
        """Write what has been taken so far."""
        with self._writing:
            with self._lock:
                records, self._queue, self._queued = self._queue, [], 0
            lines: list[bytes] = []
            pending = 0
            for record in records:
                if (written := self._line(record)) is not None:
                    lines.append(written)
                    pending += len(written)
                if pending > BLOCK:
                    self._write(lines)
                    lines, pending = [], 0
            self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        try:
            self._ring.append(lines)
        except OSError as error:
            self._dropped["disk"].inc(len(lines))
            self._complain("disk", f"cannot write to {self._ring.folder}: {error.strerror or error}")
        else:
            self._captured.inc(len(lines))

    def close(self) -> None:
        """Write what there is and end the thread."""
        self._stop.set()
        self.flush()
        with self._writing:
            self._ring.close()

    def _work(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                self.flush()
            except Exception:  # noqa: PERF203  (one odd request must not end the recording of all others)
                logger.exception("capture")

    def _line(self, record: Record) -> bytes | None:
        """Return what is written of a record, None when it must not be."""
        try:
            if self._scrubber is None:
                return line(record)
            kept = self._scrubber(decoded(record))
            return line(Record("", 0, kept.body, kept.headers, kept.path, kept.protocol, record.status, record.time))
        except SampleError as error:
            self._dropped["refused"].inc()
            self._complain("refused", str(error))
            return None

    def _complain(self, reason: str, message: str) -> None:
        """Log the first drop of each kind; the metrics count the others."""
        if reason not in self._complained:
            self._complained.add(reason)
            logger.warning("capture drops requests (see kserve_warmup_capture_dropped_total): %s", message)


class Capture:
    """The recorders of one process, by model name."""

    def __init__(self) -> None:
        """Begin with none."""
        self._recorders: dict[str, Recorder] = {}

    def __bool__(self) -> bool:
        """Return whether any model's traffic is recorded."""
        return bool(self._recorders)

    def add(self, model: str, settings: WarmupSettings) -> None:
        """Record ``model``'s traffic if the settings ask for it."""
        folder = folder_of(settings, model)
        if folder is not None and model not in self._recorders:
            self._recorders[model] = Recorder(model, folder, settings)

    def get(self, model: str) -> Recorder | None:
        """Return the recorder of ``model``'s requests, None when they are not recorded."""
        return self._recorders.get(model)

    def flush(self) -> None:
        """Write what has been taken so far."""
        for recorder in self._recorders.values():
            recorder.flush()

    def clear(self) -> None:
        """Stop recording."""
        for recorder in self._recorders.values():
            recorder.close()
        self._recorders.clear()


CAPTURE: Any = Capture()
"""This process's."""
