"""The gate's order of events: wait for the server, warm it, watch it, and begin anew when it has."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from kserve_warmup import metrics
from kserve_warmup.files import write_whole
from kserve_warmup.gate import bursts
from kserve_warmup.gate.cancelling import ended, for_seconds
from kserve_warmup.gate.first_answer import SENDING, WAITING, first_answer
from kserve_warmup.gate.gate_plan import GateSettings, ModelSamples
from kserve_warmup.gate.gate_state import Phase, State, blame
from kserve_warmup.gate.guarded import LOOK_SECONDS, Marks, Server, ServerGoneError, ServerHungError, read_headers
from kserve_warmup.replay import replay
from kserve_warmup.report import WarmupReport
from kserve_warmup.samples.sample import Sample
from kserve_warmup.transports.endpoints import NO_PATHS, OwnPaths
from kserve_warmup.transports.model_kind import PLAIN, read_kind
from kserve_warmup.transports.readiness import lists_only
from kserve_warmup.transports.wire import WireTransport

logger = logging.getLogger("kserve_warmup.gate")

RETRY_SECONDS = 5.0
"""After a warm-up in which a stratum failed; doubled each time up to a minute."""

MOST_RETRY_SECONDS = 60.0

GRPC_SECONDS = 10.0
"""How much later than HTTP the server may open its gRPC port."""


SAME_SECONDS = 10.0
"""A server whose errors differ in their words alone is logged no more often than that."""


@dataclass
class Gate:
    """Warms the server whenever it has started anew; :attr:`state` says where that stands.

    ``sets`` holds a sample set for each of its models; their requests go to ``http_url`` and ``grpc_address``, to
    ``paths`` if the server has its own: one by one, and then as many at once as ``concurrency`` says, None: as batchers
    need it. ``once``: nobody goes on when it has failed. ``on_phase`` is told each new phase at once.
    """

    server: Server
    sets: Sequence[ModelSamples]
    settings: GateSettings
    http_url: str | None
    grpc_address: str | None
    paths: OwnPaths = NO_PATHS
    concurrency: tuple[int, ...] | None = None
    once: bool = False
    state: State = field(default_factory=State)
    on_phase: Callable[[State], None] | None = None
    _marks: Marks = field(default_factory=Marks)
    _said: str = ""
    _told: float = 0.0

    async def run(self) -> None:
        """Go on until cancelled, whatever the server does."""
        retry = RETRY_SECONDS
        try:
            while True:
                retry = await self._round(retry)
        finally:
            self.server.drop()

    async def _round(self, retry: float) -> float:
        """Warm the server once and watch it until that has to be done again; return when to retry the next failure."""
        try:
            if await self.warmed():
                await self._until_another_start()
            else:
                await for_seconds(retry, self._until_lost())
        except TimeoutError:
            return min(2 * retry, MOST_RETRY_SECONDS)
        except ServerGoneError as error:
            self._tell("waiting", error.reason, error.said)
            await asyncio.sleep(LOOK_SECONDS / 4)
        except Exception as error:  # the pod must not go down with its gate
            logger.exception("unexpected: this is a bug")
            self._tell("failed", f"unexpected {type(error).__name__}")
            await asyncio.sleep(retry)
        return RETRY_SECONDS

    async def warmed(self) -> bool:
        """Warm the server and say whether its warmth may be promised.

        Raises:
            ServerGoneError: it is not ready, goes away meanwhile, or is another one afterwards.
        """
        await self.server.check_ready()
        before = self._marks = await self.server.marks()
        if not self.settings.enabled:
            self._tell("ready", "warm-up is turned off (KSERVE_WARMUP_ENABLED)")
            return True
        self.state = replace(self.state, warmups=self.state.warmups + 1, calls=0, reports=())
        self._tell("warming", SENDING)
        warming, lost = asyncio.ensure_future(self._warm()), asyncio.ensure_future(self._until_lost())
        try:
            await asyncio.wait({warming, lost}, return_when=asyncio.FIRST_COMPLETED)
            if lost.done():
                lost.result()
            reports = await warming
        finally:
            await ended(warming, lost)
        await self.server.check_ready()
        self._marks = await self.server.marks()
        if before.differ(self._marks):
            raise ServerGoneError("the server restarted during its warm-up")
        return self._judge(reports)

    async def _warm(self) -> tuple[WarmupReport, ...]:
        return tuple([await self._warm_model(samples) for samples in self.sets])

    async def _warm_model(self, samples: ModelSamples) -> WarmupReport:
        headers = read_headers(self.settings.headers)
        where = (self.http_url, self.grpc_address)
        path = self.paths.path_for(samples.model)
        kind = PLAIN if path else await read_kind(samples, samples.model, *where, headers)
        transport = WireTransport(
            samples,
            *where,
            samples.model,
            timeout=self.settings.patience,
            headers=headers,
            path=path,
            kind=kind,
        )
        try:
            await transport.open(GRPC_SECONDS)
            if lists_only(samples):
                await self._answered(samples, transport)
            begin = time.monotonic()
            end = begin + self.settings.max_seconds
            share = bursts.single_share(transport.usable, self.concurrency)
            report = await self._alone(transport, samples.model, begin + share * self.settings.max_seconds)
            sending = bursts.levels(transport.usable, self.concurrency)
            levels = await bursts.send(
                sending,
                transport,
                self.settings,
                samples.model,
                end=end,
                longest=transport.longest,
                on_call=self._count,
            )
            if bursts.outrun(report, levels):
                report = report.then(await self._alone(transport, samples.model, end))
            return replace(report, note=bursts.note(levels), levels=levels)
        finally:
            await transport.close()

    async def _alone(self, transport: WireTransport, model: str, end: float) -> WarmupReport:
        """Send one request after the other, those that have failed before no more."""
        samples = [sample for sample in transport.samples if sample.id not in transport.failed]
        return await replay(samples, transport, self.settings, model, deadline=end, on_call=self._count)

    async def _answered(self, samples: ModelSamples, transport: WireTransport) -> None:
        """Wait for an answer to a request; who warms once, or would serve cold, no longer than a warm-up may take."""
        patient = self.settings.on_failure == "fail" and not self.once
        end = math.inf if patient else time.monotonic() + self.settings.max_seconds
        await first_answer(
            samples.samples, transport, lambda said: self._tell("waiting", WAITING, said), self._count, end
        )
        transport.failed.clear()  # what failed before there was an engine
        self._tell("warming", SENDING)

    def _judge(self, reports: tuple[WarmupReport, ...]) -> bool:
        self.state = replace(self.state, reports=reports)
        for report in reports:
            metrics.publish(report)
            (logger.info if report.converged else logger.warning)("%s: %s", report.model, report.summary())
            for level in report.levels if self.concurrency else ():  # batchers' are told in one note
                (logger.info if level.converged else logger.warning)("%s: %s", report.model, level.summary())
            for s in report.strata:
                if s.error:  # what the server said stands here alone: the port is open to anybody
                    logger.warning("%s: %s batch %d: %s", report.model, s.name, s.batch, s.error)
        self._write(reports)
        strata = sum(len(r.strata) for r in reports)
        failed = [(r.model, s) for r in reports for s in r.failed]
        if failed:
            model, first = failed[0]
            what = f"{len(failed)} of {strata} strata cannot be warmed"
            why = f"first {model} {first.name} batch {first.batch}: {first.error}"
            if self.settings.on_failure == "fail":
                self._tell("failed", what, f"{why}; {blame(everything=len(failed) == strata)}")
                return False
            logger.error("%s, %s; these requests are served COLD", what, why)
        refused = [(r.model, s) for r in reports for s in r.refused]
        if refused:
            model, first = refused[0]
            what = f"the server refuses {len(refused)} of {strata} strata"
            why = f"first {model} {first.name} batch {first.batch}: {first.error}"
            if len(refused) == strata and self.settings.on_missing_samples == "fail":
                self._tell("failed", f"{what}, nothing is left to warm with", why)
                return False
            logger.warning("%s, they are left out; %s", what, why)
        steady = sum(s.converged for r in reports for s in r.strata)
        self._tell("ready", f"{steady} of {strata} strata steady{f', {len(refused)} refused' if refused else ''}")
        gc.collect(1)  # young garbage alone: a full collection would keep a replica waiting
        return True

    def _write(self, reports: tuple[WarmupReport, ...]) -> None:
        """Write the reports to the file that the settings name; several get their models' names into the files'."""
        file = self.settings.report
        if file is None:
            return
        for report in reports:
            target = file if len(reports) == 1 else file.with_stem(f"{file.stem}-{quote(report.model, safe='')}")
            try:
                write_whole(target, report.to_json().encode())
            except OSError as error:
                logger.warning("cannot write the report to %s: %s", target, error.strerror)

    async def _until_lost(self) -> None:
        """Watch the connection alone: a server that is busy with its warm-up may be slow to say how it is.

        Raises:
            ServerGoneError: it is not there any more.
        """
        while True:
            if not await self.server.stays():
                with suppress(ServerHungError):
                    await self.server.check_ready()
                await asyncio.sleep(LOOK_SECONDS)  # some servers close every connection that is idle

    async def _until_another_start(self) -> None:
        """Watch a warm server until it is certain, or cannot be ruled out, that another start has taken its place."""
        promise = self.state.detail
        while True:
            known = self.server.connections
            stayed = await self.server.stays()
            try:
                await self.server.check_ready()
                marks = self._marks if self.server.connections == known else await self.server.marks()
                marks = replace(marks, counts=await self.server.counts())
            except ServerGoneError as error:
                self._tell("waiting", error.reason, error.said)
                marks = await self._back()
                if not self._marks.same_start(marks):
                    return
                self._tell("ready", promise)
            # A connection that could be made again at once was closed for being idle: a process takes longer to start.
            if self._marks.differ(marks):
                self._tell("waiting", "the server or its model was started anew")
                return
            self._marks = self._marks.then(marks)
            if not stayed:
                await asyncio.sleep(LOOK_SECONDS)

    async def _back(self) -> Marks:
        """Wait until the server is ready again, and return its marks."""
        while True:
            await asyncio.sleep(LOOK_SECONDS / 4)
            try:
                await self.server.check_ready()
                return await self.server.marks()
            except ServerGoneError as error:
                self._tell("waiting", error.reason, error.said)

    def _tell(self, phase: Phase, detail: str, said: str = "") -> None:
        """Set the state, which anybody may see; what is new in it is logged, with what the server ``said``."""
        now = time.monotonic()
        if (phase, detail) == (self.state.phase, self.state.detail) and (
            said == self._said or now < self._told + SAME_SECONDS
        ):
            return
        since = self.state.since if phase == self.state.phase else now
        self.state = replace(self.state, phase=phase, detail=detail, since=since)
        self._said, self._told = said, now
        if self.on_phase is not None:
            self.on_phase(self.state)
        logger.info("%s: %s", phase, f"{detail}: {said}" if said else detail)

    def _count(self, _: Sample) -> None:
        self.state = replace(self.state, calls=self.state.calls + 1)
