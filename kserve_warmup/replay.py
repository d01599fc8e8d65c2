"""The loop that everything stands on: send what the judge asks for until it is satisfied, or a budget is spent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.report import StratumReport, WarmupReport
from kserve_warmup.samples.sample import Sample
from kserve_warmup.steady_judge import SteadyStateJudge, Verdict

if TYPE_CHECKING:
    from kserve_warmup.settings import WarmupSettings

T = TypeVar("T")

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

OUT_OF_BUDGET = "not reached: the budget (max_seconds) was spent"

StratumKey = tuple[str, str, int]
"""Protocol, signature and batch size, as reports name a stratum."""


class RequestFailedError(WarmupFailedError):
    """One request was not answered as a client expects; the message says why, in one line.

    As it stands a fault: of the model, or of the server around it.
    """


class NoAnswerError(RequestFailedError):
    """A request was sent and never answered: a fault."""


class RequestRefusedError(RequestFailedError):
    """The model refuses the request, as HTTP does with 4xx: the request is at fault, and says nothing of warmth."""


class DependencyAwayError(RequestFailedError):
    """What the model needs is not there, such as a transformer's predictor: it may come."""


class NotHereError(RequestFailedError):
    """The request cannot be judged here, and can where the model is served."""


async def answered_within(seconds: float, answer: Awaitable[T]) -> T:
    """Await ``answer``.

    Raises:
        NoAnswerError: it did not come in time.
    """
    try:
        return await asyncio.wait_for(answer, seconds)
    except (asyncio.TimeoutError, TimeoutError):
        raise NoAnswerError(f"no answer within {seconds:.3g} s") from None


def describe(error: BaseException) -> str:
    """Return an exception in one line, with its type."""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a replay: seconds, calls a stratum, and the share of the plateau within which latency is steady."""

    max_seconds: float = 60.0
    max_calls: int = 1000
    tolerance: float = 0.10


class Transport(Protocol):
    """A way to send a sample."""

    name: str

    async def send(self, sample: Sample) -> float:
        """Send ``sample``, take its whole answer and return the latency in seconds.

        Raises:
            RequestFailedError: the answer is not a success, or does not come in time.
        """


@dataclass
class _Stratum:
    """What was sent of one stratum; ``samples`` shrinks as samples fail."""

    key: Sample
    samples: list[Sample]
    latencies: list[float] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0
    failures: int = 0
    refused: int = 0
    error: str | None = None

    @property
    def share(self) -> float:
        return sum(s.weight for s in self.samples)

    async def call(self, transport: Transport) -> float | None:
        """Send the next sample, the samples taking turns; return its latency, None if it failed.

        A sample that fails is not sent again.
        """
        sample = self.samples[self.calls % len(self.samples)]
        self.calls += 1
        started = time.perf_counter()
        try:
            latency = await transport.send(sample)
        except DependencyAwayError:
            raise
        except RequestFailedError as error:
            self.samples.remove(sample)
            if not isinstance(error, NotHereError):
                self.error = f"sample {sample.id[:12]}: {error}"
                self.refused += isinstance(error, RequestRefusedError)
                self.failures += not isinstance(error, RequestRefusedError)
            return None
        finally:
            self.seconds += time.perf_counter() - started
        self.latencies.append(latency)
        return latency

    def report(self, share: float, verdict: Verdict) -> StratumReport:
        return StratumReport(
            protocol=self.key.protocol,
            signature=str(self.key.signature),
            batch=self.key.batch,
            share=share,
            calls=self.calls,
            seconds=self.seconds,
            first_ms=self.latencies[0] * 1000 if self.latencies else None,
            steady_ms=None if verdict.level is None else 1000 * verdict.level,
            converged=verdict.steady,
            failures=self.failures,
            refused=self.refused,
            error=self.error,
            latencies_ms=tuple(1000 * value for value in self.latencies),
        )


async def replay(
    samples: Iterable[Sample],
    transport: Transport,
    settings: WarmupSettings | Limits,
    model: str,
    *,
    deadline: float | None = None,
    known: WarmupReport | None = None,
    on_call: Callable[[Sample], None] = lambda _: None,
) -> WarmupReport:
    """Send ``samples`` over ``transport`` until every stratum is steady or the budget is spent.

    Strata are first called in the order of their share of the traffic; which comes next is the judge's to say. What
    the budget does not reach is the rarest, and the report names it. A request that was begun gets its answer, or the
    whole time that it may take: the budget begins no further one.

    Args:
        samples: What to send; their weights are shares of the traffic.
        transport: How to send it, and how long to wait for an answer.
        settings: ``max_calls`` a stratum, ``tolerance``; ``max_seconds`` without a deadline.
        model: The model's name, for the report.
        deadline: When to stop, on the clock of ``time.monotonic()``.
        known: What an earlier path to the same model in the same process found: only what is new is judged then.
        on_call: Called with the sample before each request.

    Raises:
        DependencyAwayError: something that the model needs is away.
    """
    started = time.perf_counter()
    end = time.monotonic() + settings.max_seconds if deadline is None else deadline
    strata = _strata(samples)
    shares = {key: stratum.share for key, stratum in strata.items()}
    earlier = _verdicts(known)
    judge = SteadyStateJudge(
        list(strata),
        settings.tolerance,
        known={key: earlier[name] for key, stratum in strata.items() if (name := _name(stratum)) in earlier},
        max_calls=settings.max_calls,
    )
    while time.monotonic() < end and (key := judge.next()) is not None:
        stratum = strata[key]
        if not stratum.calls:
            # What kills the process here (memory, a crash in native code) leaves no other word behind.
            protocol, signature, batch = _name(stratum)
            logger.info("%s: warming %s %s batch %d over %s", model, protocol, signature, batch, transport.name)
        on_call(stratum.samples[stratum.calls % len(stratum.samples)])
        if (latency := await stratum.call(transport)) is not None:
            judge.observe(key, latency)
        if not stratum.samples:
            judge.leave_out(key)
    for stratum in strata.values():
        if not stratum.calls:
            stratum.error = OUT_OF_BUDGET
    reports = tuple(stratum.report(shares[key], judge.verdict(key)) for key, stratum in strata.items())
    return WarmupReport(model, transport.name, time.perf_counter() - started, reports, tolerance=settings.tolerance)


def _strata(samples: Iterable[Sample]) -> dict[object, _Stratum]:
    """Group samples by stratum, the largest share of the traffic first."""
    groups: dict[object, _Stratum] = {}
    for sample in samples:
        groups.setdefault(sample.stratum, _Stratum(sample, [])).samples.append(sample)
    return dict(sorted(groups.items(), key=lambda pair: -pair[1].share))


def _name(stratum: _Stratum) -> StratumKey:
    return (stratum.key.protocol, str(stratum.key.signature), stratum.key.batch)


def _verdicts(report: WarmupReport | None) -> Mapping[StratumKey, Verdict]:
    return {
        (s.protocol, s.signature, s.batch): Verdict(s.converged, s.calls, s.steady_ms / 1000)
        for s in (report.strata if report else ())
        if s.steady_ms is not None
    }
