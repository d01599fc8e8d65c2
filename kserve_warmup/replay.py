"""The loop that everything stands on: send samples until the latency is steady, within a budget."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.report import StratumReport, WarmupReport
from kserve_warmup.samples.sample import Sample
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.steady import SteadyStateDetector

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

OUT_OF_BUDGET = "not reached: the budget (max_seconds) was spent"


class RequestFailedError(WarmupFailedError):
    """One request was not answered as a client expects; the message says why, in one line."""


def describe(error: BaseException) -> str:
    """Return an exception in one line, with its type."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class Transport(Protocol):
    """A way to send a sample."""

    name: str

    async def send(self, sample: Sample) -> float:
        """Send ``sample``, take its whole answer and return the latency in seconds.

        Raises:
            RequestFailedError: the answer is not a success.
        """


@dataclass
class _Stratum:
    """What is known so far of one stratum; ``samples`` shrinks as samples fail."""

    samples: list[Sample]
    share: float
    detector: SteadyStateDetector
    latencies: list[float] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0
    failures: int = 0
    error: str | None = None

    async def call(self, transport: Transport, timeout: float, left: float) -> None:
        """Send the next sample, the samples taking turns; one that fails is not sent again.

        A request that the end of the budget cuts, ``left`` seconds away, has not failed.
        """
        sample = self.samples[self.calls % len(self.samples)]
        self.calls += 1
        started = time.perf_counter()
        try:
            latency = await asyncio.wait_for(transport.send(sample), min(timeout, left))
        except (asyncio.TimeoutError, TimeoutError):
            if left < timeout:
                self.error = OUT_OF_BUDGET
            else:
                self._fail(sample, f"no answer within {timeout:.3g} s")
        except RequestFailedError as error:
            self._fail(sample, str(error))
        else:
            self.latencies.append(latency)
            self.detector.observe(latency)
        finally:
            self.seconds += time.perf_counter() - started

    def _fail(self, sample: Sample, error: str) -> None:
        self.failures += 1
        self.error = f"sample {sample.id[:12]}: {error}"
        self.samples.remove(sample)

    def report(self, key: Sample) -> StratumReport:
        first = self.latencies[0] * 1000 if self.latencies else None
        steady = self.detector.steady_latency
        return StratumReport(
            protocol=key.protocol,
            signature=str(key.signature),
            batch=key.batch,
            share=self.share,
            calls=self.calls,
            seconds=self.seconds,
            first_ms=first,
            steady_ms=None if steady is None else 1000 * steady,
            converged=self.detector.steady,
            failures=self.failures,
            error=self.error,
            latencies_ms=tuple(1000 * value for value in self.latencies),
        )


async def replay(
    samples: Iterable[Sample],
    transport: Transport,
    settings: WarmupSettings,
    model: str,
    *,
    deadline: float | None = None,
    on_call: Callable[[], None] = lambda: None,
) -> WarmupReport:
    """Send ``samples`` over ``transport`` until every stratum is steady or the budget is spent.

    Strata go by their share of the traffic: first one call to each, so that nothing stays untouched, then each until
    its latency is steady. What the budget does not reach is the rarest, and the report names it.

    Args:
        samples: What to send; their weights are shares of the traffic.
        transport: How to send it.
        settings: ``max_calls`` a stratum, ``request_timeout``, ``tolerance``; ``max_seconds`` without a deadline.
        model: The model's name, for the report.
        deadline: When to stop, on the clock of ``time.monotonic()``.
        on_call: Called before each request.
    """
    started = time.perf_counter()
    end = time.monotonic() + settings.max_seconds if deadline is None else deadline
    strata = _strata(samples, settings)

    async def advance(stratum: _Stratum) -> None:
        on_call()
        await stratum.call(transport, settings.request_timeout, end - time.monotonic())

    for key, stratum in strata:
        if time.monotonic() < end:
            # What kills the process here (memory, a crash in native code) leaves no other word behind.
            name, batch = f"{key.protocol} {key.signature}", key.batch
            logger.info("%s: warming %s batch %d over %s", model, name, batch, transport.name)
            await advance(stratum)
        else:
            stratum.error = OUT_OF_BUDGET
    for _, stratum in strata:
        while (
            stratum.samples
            and not stratum.detector.steady
            and stratum.calls < settings.max_calls
            and time.monotonic() < end
        ):
            await advance(stratum)
    reports = tuple(stratum.report(key) for key, stratum in strata)
    return WarmupReport(model, transport.name, time.perf_counter() - started, reports, tolerance=settings.tolerance)


def _strata(samples: Iterable[Sample], settings: WarmupSettings) -> list[tuple[Sample, _Stratum]]:
    """Group samples by stratum, the largest share of the traffic first; each with a sample that tells its key."""
    groups: dict[object, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.stratum, []).append(sample)
    strata = [
        (group[0], _Stratum(list(group), sum(s.weight for s in group), SteadyStateDetector(settings.tolerance)))
        for group in groups.values()
    ]
    return sorted(strata, key=lambda pair: -pair[1].share)
