"""How one model is warmed: which samples, over which paths, within which budget, and what happens when it fails."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any

from kserve import Model

from kserve_warmup.caches import baked
from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.protocols.codec import codec_of, over_grpc
from kserve_warmup.replay import DependencyAwayError, RequestFailedError, Transport, replay
from kserve_warmup.report import StratumReport, WarmupReport
from kserve_warmup.samples import Sample
from kserve_warmup.serving.after_ready import watch_after_ready
from kserve_warmup.serving.blaming import Blaming
from kserve_warmup.serving.chosen import chosen_samples
from kserve_warmup.serving.compat import request_histograms_untouched
from kserve_warmup.serving.context import Attempt, errors_noted, noting, requests_quiet, warming
from kserve_warmup.serving.end import end_process
from kserve_warmup.serving.learning import Learning
from kserve_warmup.serving.own_rest import OwnRest
from kserve_warmup.serving.publishing import publish
from kserve_warmup.serving.watchdog import interruptible, watched
from kserve_warmup.settings import settings_of, warn_of_unknown_variables
from kserve_warmup.timeline import MODEL_WARMUP, WIRE_WARMUP, Stopwatch
from kserve_warmup.transports.grpc import GrpcTransport
from kserve_warmup.transports.in_process import InProcessTransport, step
from kserve_warmup.transports.loopback import grpc_loopback, rest_loopback

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

PATH_SHARE = 0.75
"""Share of what is left of the budget that one path may spend: the next one must not go without."""

PROBE_SECONDS = 5.0
"""How long a request may take that only asks whether the model answers at all."""

BLOCKED_SECONDS = 1.0
"""How much later than its own timeout a request is taken for one that blocks the thread."""


class Warmup:
    """The warm-up of one model in one process: its samples, its budget, its report so far."""

    def __init__(self, model: Model, clock: Stopwatch) -> None:
        """Read the settings and the samples; ``clock`` has noted the model's load.

        Raises:
            WarmupError: a setting or the sample set cannot be used, or is missing and the settings ask to fail then.
        """
        self.model, self.clock = model, clock
        warn_of_unknown_variables()
        baked.attend()
        self.settings = settings_of(model)
        self.samples, self.unreviewed = chosen_samples(model, self.settings)
        self.headers = self.settings.headers.read() if self.samples else {}
        self.report = WarmupReport(model.name, "none", 0.0, ())
        self.learning = Learning(model, self.settings, self.samples)
        self.attempt = Attempt()
        self.waits = self._interrupted = False
        self._waited_since = time.monotonic()

    def in_load(self, *, only_grpc: bool) -> None:
        """Warm the model's own path on this thread, which runs no event loop, as far as that can be done here.

        Nothing that fails here is held against the model: its surroundings may not be there yet.
        """
        samples = [s for s in self.samples if codec_of(s.protocol).has_tensors and (over_grpc(s) or not only_grpc)]
        if samples:
            try:
                with warming(self.attempt):
                    report = step(self._over(InProcessTransport(self.model, self.headers), samples))
            except DependencyAwayError as error:
                logger.warning("%s: %s in load(); the server tries again", self.model.name, error)
                return
            answered = tuple(s for s in report.strata if s.warmed or s.failures)
            self.report = self.report.then(replace(report, strata=answered))
            self._check(self.report)

    async def over_rest(self, app: Any, name: str) -> None:
        """Warm the REST server that serves ``app``, where the model is called ``name``, from within its loop.

        Raises:
            DependencyAwayError: something that the model needs is away.
            WarmupFailedError: a stratum met nothing but faults, and the settings say not to serve it then.
        """
        samples = [s for s in self._sendable if not over_grpc(s)]
        await self._over_wire(self._rest(app, name, self.settings.patience), samples)

    async def over_grpc(self) -> None:
        """Warm KServe's gRPC stack in this process, on the running loop; raises as :meth:`over_rest` does."""
        samples = [s for s in self._sendable if over_grpc(s)]
        await self._over_wire(self._grpc(self.settings.patience), samples)

    async def is_answered(self, app: Any, name: str | None) -> bool:
        """Return whether the model answers its commonest request by now; True if nothing can be sent to it here.

        Args:
            app: The application, None in a process that serves gRPC alone.
            name: What the application calls the model, None if it does not serve it.
        """
        over_rest = app is not None and name is not None
        first = next((s for s in self.samples if over_grpc(s) or over_rest), None)
        if first is None:
            return True
        wire = self._grpc(PROBE_SECONDS) if over_grpc(first) else self._rest(app, str(name), PROBE_SECONDS)
        quiet = requests_quiet(self.attempt, logging.CRITICAL)
        with warming(self.attempt), quiet, request_histograms_untouched(self.model.name):
            try:
                async with wire as transport:
                    await transport.send(first)
            except RequestFailedError:
                return False
        return True

    @asynccontextmanager
    async def _rest(self, app: Any, name: str, patience: float) -> AsyncIterator[Transport]:
        async with rest_loopback(app) as url:
            yield OwnRest(url, name, patience, self.headers, self._is_ours)

    def _is_ours(self) -> bool:
        """Return whether the model was asked for its health since this was last asked."""
        asked = id(self.model) in self.attempt.asked
        self.attempt.asked.clear()
        return asked

    @asynccontextmanager
    async def _grpc(self, patience: float) -> AsyncIterator[Transport]:
        async with grpc_loopback(self.model, self.attempt) as address:
            grpc = GrpcTransport(address, self.model.name, patience, self.headers)
            try:
                yield grpc
            finally:
                await grpc.close()

    async def _over_wire(self, wire: AbstractAsyncContextManager[Transport], samples: Sequence[Sample]) -> None:
        if samples:
            with warming(self.attempt):
                async with wire as transport:
                    report = await self._over(Blaming(transport, self.attempt), samples)
            self.report = self.report.then(report)
            self._check(report)

    async def _over(self, transport: Transport, samples: Iterable[Sample]) -> WarmupReport:
        """Replay ``samples`` over ``transport`` with a share of what is left of the budget."""
        in_process = transport.name == InProcessTransport.name
        patience = self.settings.patience + (0 if in_process else BLOCKED_SECONDS)
        end = time.monotonic() + (self.settings.max_seconds - self.report.seconds) * PATH_SHARE
        with (
            self.clock.step(MODEL_WARMUP if in_process else f"{WIRE_WARMUP} ({transport.name})"),
            request_histograms_untouched(self.model.name),
            errors_noted(type(self.model)),
            # a failure that is known by now, and tried again and again, needs no traceback each time
            requests_quiet(self.attempt, logging.CRITICAL if self.waits else logging.INFO),
            interruptible(noting.__code__, f"no answer within {self.settings.patience:.3g} s") as interrupt,
            watched(patience, lambda: self._hangs(transport, interrupt)) as alive,
        ):
            report = await replay(
                samples,
                transport,
                self.settings,
                self.model.name,
                deadline=end,
                known=self.report,
                profiles=self.learning.profiles(transport.name),
                on_call=lambda _: alive(),
            )
        self.learning.note(report)
        return report

    def _hangs(self, transport: Transport, interrupt: Callable[[], None]) -> None:
        """End the process over a request that blocks its thread; if it is to serve all the same, interrupt that.

        In load() it may wait for what comes with the server, so that it is interrupted there, if that is possible.
        """
        if transport.name == InProcessTransport.name and not self._interrupted:
            self._interrupted = True
            interrupt()
            return
        message = (
            f"{self.model.name}: a warm-up request over {transport.name} gives no answer within "
            f"{self.settings.patience:.3g} s and blocks the thread that serves{HOW_TO_WAIT}"
        )
        if self._fails_closed:
            end_process(message)
        logger.critical("%s; it is interrupted", message)
        interrupt()

    @property
    def _fails_closed(self) -> bool:
        # Requests that nobody has chosen must not keep a model from serving.
        return self.settings.on_failure == "fail" and not self.unreviewed

    def _check(self, report: WarmupReport) -> None:
        """Say what was refused and what failed.

        Raises:
            WarmupError: the settings say not to serve then.
        """
        if report.refused:
            self._refused(report)
        if not report.failed:
            return
        what = f"{self.model.name}: {_count(report.failed, report)} cannot be warmed over {report.transport}, "
        message = what + _first(report.failed)
        if self._fails_closed:
            hint = HOW_TO_WAIT if "no answer within" in message else ""
            raise WarmupFailedError(
                f"{message}{hint}. Mend the model, or set KSERVE_WARMUP_ON_FAILURE=serve to serve it cold",
                report=self.report,
            )
        logger.error("%s; these requests are served COLD", message)

    def _refused(self, report: WarmupReport) -> None:
        share = sum(s.share for s in report.refused)
        what = (
            f"{self.model.name}: the model refuses {_count(report.refused, report)}, {share:.1%} of the traffic, over"
        )
        message = f"{what} {report.transport}: they are left out; {_first(report.refused)}"
        if any(s.warmed or s.failures for s in report.strata):
            logger.warning("%s", message)
            return
        if self.settings.on_missing_samples == "fail":
            raise WarmupError(f"{message}. Nothing is left to warm with: sample its traffic anew")
        if self.settings.on_missing_samples == "warn":
            logger.error("%s. Nothing is left to warm with: it is served COLD", message)

    @property
    def _sendable(self) -> tuple[Sample, ...]:
        """The samples without those whose every attempt failed on an earlier path."""
        failed = {s.key for s in self.report.failed}
        return tuple(s for s in self.samples if s.stratum.key not in failed)

    def has_waited_long(self) -> bool:
        """Return whether the budget's time has gone by since this last said so."""
        now = time.monotonic()
        long = now - self._waited_since > self.settings.max_seconds
        self._waited_since = now if long else self._waited_since
        return long

    def note_caches(self) -> None:
        """Put into the report what compile caches gave.

        Raises:
            WarmupFailedError: the settings ask for baked ones that hold everything, and programs were compiled.
        """
        self.report = replace(self.report, cache=baked.outcome(), cache_note=baked.BAKED.note)
        baked.refuse_compiled(self.report.cache)

    def finish(self) -> None:
        """Publish the report: the model is about to say that it is ready."""
        if not self.report.strata:
            return
        gc.collect(1)  # what the warm-up left would otherwise be collected during a user's first requests
        self.report = replace(self.report, timeline=self.clock.ready())
        self.report = self.learning.finish(self.report, first=not self.clock.reload)
        watch_after_ready(self.model.name, self.settings, self.samples, self.report)
        publish(self.report, self.settings.report)


HOW_TO_WAIT = "; if it needs longer, raise KSERVE_WARMUP_REQUEST_TIMEOUT and KSERVE_WARMUP_MAX_SECONDS"


def _count(strata: tuple[StratumReport, ...], report: WarmupReport) -> str:
    return f"{len(strata)} of {len(report.strata)} strata"


def _first(strata: tuple[StratumReport, ...]) -> str:
    first = strata[0]
    return f"first {first.name} batch {first.batch}: {first.error}"
