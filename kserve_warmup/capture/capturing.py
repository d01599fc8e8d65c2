"""Record a model's own traffic as it came over the wire, for the next start to warm with.

A request costs the look at its path, a drawn number, and for those that are kept two small wrappers and a list's
append. Everything else, scrubbing included, happens in a thread. What it cannot take in time is dropped and counted:
a record is whole or not there, and no request ever waits.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from kserve_warmup.capture.private_folder import open_private, own_files
from kserve_warmup.errors import SampleError
from kserve_warmup.settings import WarmupSettings

if TYPE_CHECKING:
    from kserve_warmup.capture.recorder import Recorder
    from kserve_warmup.samples.sample import Sample
    from kserve_warmup.sampling.scrub.scrubber import Scrubber

logger = logging.getLogger("kserve.warmup")

PERIOD = 0.25
"""Seconds between two looks of the thread at the queue: waking it for each request would cost the request time."""


def folder_of(settings: WarmupSettings, model: str) -> Path | None:
    """Return where ``model``'s requests are recorded, None when they are not."""
    if settings.capture_dir is None:
        return None
    name = quote(model, safe="")
    return settings.capture_dir / (f"%2E{name[1:]}" if name.startswith(".") else name)  # neither hidden nor ".."


def scrubber_of(settings: WarmupSettings) -> Scrubber | None:
    """Return what takes private content out of a request before it is recorded.

    Raises:
        SampleError: the rules cannot be used.
    """
    if not (settings.capture_dir and settings.capture_scrub):
        return None
    from kserve_warmup.sampling.scrub.scrubber import Scrubber

    return Scrubber.load(settings.capture_scrub.split(","))


def recorded_samples(settings: WarmupSettings, model: str) -> tuple[Sample, ...]:
    """Return what stands for the traffic that earlier processes have recorded; nothing if there is none.

    Only what this user's own processes can have written is read: what is sent to the model must be nobody else's.
    """
    folder = folder_of(settings, model)
    if folder is None:
        return ()
    try:
        handle = open_private(folder)
    except FileNotFoundError:
        return ()
    except (OSError, SampleError) as error:
        logger.warning("%s: recorded requests are not used: %s", model, error)
        return ()
    try:
        return _recorded(folder, handle, model)
    finally:
        os.close(handle)


def _recorded(folder: Path, handle: int, model: str) -> tuple[Sample, ...]:
    from kserve_warmup.sampling.reader import sample_traffic

    held = Path(f"/proc/self/fd/{handle}")  # the folder itself, whatever bears its name by now
    place = held if held.exists() else folder
    for last in (False, False, True):
        files = [place / name for name in own_files(handle) if not name.startswith(".")]
        if not files:
            break
        try:
            samples, tally = sample_traffic(files, model, form="jsonl", max_bad=1.0)
        except SampleError as error:
            if not last and not all(file.exists() for file in files):
                continue  # another process has made room just now
            text = str(error).replace(str(place), str(folder))
            logger.warning("%s: nothing recorded that could be used: %s", model, text)
            break
        logger.info("%s: %d samples of %d recorded requests in %s", model, len(samples), tally.requests, folder)
        return tuple(samples)
    return ()


def _is_refused(folder: Path, model: str) -> bool:
    """Say loudly when ``model``'s requests must not be written to ``folder``; what may pass is told by each drop."""
    try:
        os.close(open_private(folder))
    except SampleError as error:
        logger.error("%s: its requests are NOT recorded: %s", model, error)  # noqa: TRY400  (one line tells all)
        return True
    except OSError:
        pass
    return False


class Capture:
    """The recorders of one process, by model name, and the thread that empties them."""

    def __init__(self) -> None:
        self._recorders: dict[str, Recorder] = {}
        self._stop = threading.Event()
        self._stop.set()

    def __bool__(self) -> bool:
        """Return whether any model's traffic is recorded."""
        return bool(self._recorders)

    def add(self, model: str, settings: WarmupSettings) -> None:
        """Record ``model``'s traffic if the settings ask for it; a folder that must not be used is told and left.

        What another server of this process has set for a model of this name counts no more.

        Raises:
            SampleError: the scrub rules cannot be used.
        """
        if before := self._recorders.get(model):
            if before.settings == settings:
                return
            self._recorders.pop(model).close()
        folder = folder_of(settings, model)
        if folder is None:
            return
        from kserve_warmup.capture.recorder import Recorder  # a tenth of a second that others need not wait for

        recorder = Recorder(model, folder, settings, scrubber_of(settings))
        if _is_refused(folder, model):
            return
        self._recorders[model] = recorder
        if self._stop.is_set():
            self._stop.clear()
            threading.Thread(target=self._work, name="kserve-warmup-capture", daemon=True).start()
            atexit.register(self.clear)

    def get(self, model: str) -> Recorder | None:
        """Return the recorder of ``model``'s requests, None when they are not recorded."""
        return self._recorders.get(model)

    def flush(self) -> None:
        """Write what has been taken so far."""
        for recorder in list(self._recorders.values()):
            recorder.flush()

    def clear(self) -> None:
        """Write what there is, and record no more."""
        self._stop.set()
        for recorder in self._recorders.values():
            recorder.close()
        self._recorders.clear()

    def _work(self) -> None:
        while not self._stop.wait(PERIOD):
            self.flush()


CAPTURE = Capture()
"""This process's."""
