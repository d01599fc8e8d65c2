"""How one model is warmed: which samples, over which paths, within which budget, and what happens when it fails."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

from kserve_warmup import metrics
from kserve_warmup.errors import SampleError, WarmupFailedError
from kserve_warmup.files import write_whole
from kserve_warmup.replay import Transport, replay
from kserve_warmup.report import WarmupReport
from kserve_warmup.samples import Sample, SampleSet
from kserve_warmup.samples.synthesise import synthesise
from kserve_warmup.serving.capture import recorded_samples, scrubber_of
from kserve_warmup.serving.logs import requests_quiet
from kserve_warmup.serving.metrics import request_histograms_untouched
from kserve_warmup.serving.stall import watched
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.timeline import MODEL_WARMUP, WIRE_WARMUP, Stopwatch
from kserve_warmup.transports.grpc import GrpcTransport
from kserve_warmup.transports.in_process import InProcessTransport, ThreadTransport
from kserve_warmup.transports.loopback import LoopbackTransport

if TYPE_CHECKING:
    from kserve_warmup.model import WarmupModel

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

DEFAULT_SAMPLES = Path("/mnt/models/warmup")
"""Beside the artifact that KServe's storage initialiser has fetched."""

PATH_SHARE = 0.75
"""Share of what is left of the budget that one path may spend: the next one must not go without."""


class Warmup:
    """The warm-up of one model in one process: its samples, its budget, its report so far."""

    def __init__(self, model: WarmupModel, clock: Stopwatch) -> None:
        """Read the settings and the samples; ``clock`` has noted the model's load.

        Raises:
            WarmupError: the sample set cannot be used, or is missing and the settings ask to fail then.
        """
        self.model = model
        self.clock = clock
        self.settings = model.warmup_settings or WarmupSettings()
        scrubber_of(self.settings)  # rules that cannot be used show before anything is served
        self.unreviewed = False  # requests that nobody has chosen must not keep a model from serving
        self.samples = self._samples() if self.settings.enabled else ()
        self.report = WarmupReport(model.name, "none", 0.0, ())

    def _samples(self) -> tuple[Sample, ...]:
        folder = find_samples(self.settings.samples, self.model.name)
        if folder is not None:
            logger.info("%s: reading the sample set %s", self.model.name, folder)
            return tuple(SampleSet.open(folder))
        self.unreviewed = True
        if recorded := recorded_samples(self.settings, self.model.name):
            return recorded
        samples = synthesise(self.model)
        if samples:
            logger.warning(
                "%s: no sample set, so %d requests were made up from get_input_types(). They warm the shapes declared "
                "there and nothing else: record real ones with 'kserve-warmup sample' and set KSERVE_WARMUP_SAMPLES",
                self.model.name,
                len(samples),
            )
            return samples
        message = (
            f"{self.model.name}: no sample set and no get_input_types(), so nothing can be warmed: record requests "
            "with 'kserve-warmup sample' and set KSERVE_WARMUP_SAMPLES"
        )
        if self.settings.on_missing_samples == "fail":
            raise SampleError(message)
        if self.settings.on_missing_samples == "warn":
            logger.warning("%s; it is served COLD", message)
        return ()

    async def over(self, transport: Transport, samples: Iterable[Sample]) -> None:
        """Replay ``samples`` over ``transport`` with a share of what is left of the budget."""
        chosen = tuple(samples)
        if not chosen:
            return
        end = time.monotonic() + (self.settings.max_seconds - self.report.seconds) * PATH_SHARE
        name = MODEL_WARMUP if transport.name == InProcessTransport.name else f"{WIRE_WARMUP} ({transport.name})"
        with (
            self.clock.step(name),
            request_histograms_untouched(self.model.name),
            requests_quiet(),
            watched(2 * self.settings.request_timeout, lambda: self._stalled(transport)) as alive,
        ):
            report = await replay(chosen, transport, self.settings, self.model.name, deadline=end, on_call=alive)
        self._check(report)
        self.report = self.report.then(report)

    def _stalled(self, transport: Transport) -> None:
        """Say that a request blocks its event loop; with ``on_failure=fail`` end the process: nothing else can."""
        message = (
            f"{self.model.name}: a warm-up request over {transport.name} blocks the event loop, past request_timeout: "
            "an async handler must not call blocking code"
        )
        logger.critical("%s", message)
        if self.settings.on_failure == "fail":
            sys.stderr.write(f"kserve-warmup: {message}\n")
            sys.stderr.flush()
            os._exit(WarmupFailedError.exit_code)

    def _check(self, report: WarmupReport) -> None:
        failed = report.failed
        if not failed:
            return
        first = failed[0]
        count = f"{len(failed)} of {len(report.strata)} strata"
        message = (
            f"{self.model.name}: {count} cannot be warmed over {report.transport}, "
            f"first {first.protocol} {first.signature} batch {first.batch}: {first.error}"
        )
        if self.settings.on_failure == "fail" and not self.unreviewed:
            raise WarmupFailedError(
                f"{message}. Mend or remove the sample, or set KSERVE_WARMUP_ON_FAILURE=serve to serve it cold"
            )
        logger.error("%s; these requests are served COLD", message)

    def finish(self) -> None:
        """Publish the report."""
        if not self.samples:
            return
        # The warm-up's garbage would otherwise be collected during a user's first requests.
        gc.collect()
        self.report = replace(self.report, timeline=self.clock.ready())
        metrics.publish(self.report)
        if self.settings.report is not None:
            self._save(self.settings.report)
        log = logger.info if self.report.converged else logger.warning
        log("%s: %s", self.model.name, self.report.summary())

    def _save(self, file: Path) -> None:
        """Write the report; that a disk is full must not keep a warm model from serving."""
        try:
            write_whole(file, self.report.to_json().encode())
        except OSError as error:
            logger.error(  # noqa: TRY400 - one line tells all
                "%s: cannot write the warm-up report %s: %s: let KSERVE_WARMUP_REPORT name a file in a writable folder",
                self.model.name,
                file,
                error.strerror or error,
            )

    @property
    def sendable(self) -> tuple[Sample, ...]:
        """The samples without those whose every attempt failed on an earlier path."""
        failed = {(s.protocol, s.signature, s.batch) for s in self.report.failed}
        return tuple(s for s in self.samples if (s.protocol, str(s.signature), s.batch) not in failed)

    async def model_path_on_loop(self) -> None:
        """Warm the model's own path on the running loop."""
        await self.over(InProcessTransport(self.model), self._for_model())

    def model_path_in_thread(self) -> None:
        """Warm the model's own path from a thread, so that a hang can be cut, and a loop may run in this one."""
        transport = ThreadTransport(self.model)
        try:
            _run_in_thread(self.over(transport, self._for_model()))
        finally:
            transport.close()

    async def rest(self, config: uvicorn.Config) -> None:
        """Warm the REST server that ``config`` describes on the running loop, before its port opens."""
        transport = LoopbackTransport(config, self.model.name)
        await transport.open()
        try:
            await self.over(transport, (s for s in self.sendable if s.protocol != "grpc"))
        finally:
            await transport.close()

    async def grpc(self, address: str, name: str) -> None:
        """Warm the gRPC server at ``address``, where the model has ``name``."""
        samples = [s for s in self.sendable if s.protocol == "grpc"]
        if not samples:
            return
        transport = GrpcTransport(address, name)
        try:
            await asyncio.wait_for(transport.ready(), self.settings.request_timeout)
            await self.over(transport, samples)
        finally:
            await transport.close()

    def _for_model(self) -> tuple[Sample, ...]:
        return tuple(s for s in self.samples if s.protocol != "openai")


def find_samples(configured: Path | None, model: str) -> Path | None:
    """Return the folder of ``model``'s sample set, None when none is configured and none lies beside the artifact.

    Raises:
        SampleError: a folder is configured and holds no sample set.
    """
    root = configured or DEFAULT_SAMPLES
    for folder in (root / model, root):
        if (folder / "manifest.json").is_file():
            return folder
    if configured is None:
        return None
    raise SampleError(
        f"{configured} holds no sample set (no manifest.json there or in {model}/): "
        "make one with 'kserve-warmup sample', or unset KSERVE_WARMUP_SAMPLES"
    )


def _run_in_thread(work: Any) -> None:
    """Run a coroutine to its end in a loop of its own, whether or not this thread has one.

    ``asyncio.run`` on the main thread would leave it without a loop, and ``ModelServer.start`` fails then.
    """
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work)
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            outcome.append(error)

    thread = threading.Thread(
        target=contextvars.copy_context().run, args=(run,), name="kserve-warmup-replay", daemon=True
    )
    thread.start()
    thread.join()
    if outcome:
        raise outcome[0]
