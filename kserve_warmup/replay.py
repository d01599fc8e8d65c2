"""The loop that everything stands on: send what the judge asks for until it is satisfied, or a budget is spent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from kserve_warmup.errors import SampleError, WarmupFailedError
from kserve_warmup.profile import Profile
from kserve_warmup.report import ProfileUse, StratumKey, StratumReport, WarmupReport
from kserve_warmup.samples.sample import Sample, Stratum
from kserve_warmup.samples.strata import by_stratum, share
from kserve_warmup.steady_judge import SteadyStateJudge, Verdict
from kserve_warmup.token_latency import SameLength, TokenLatency

if TYPE_CHECKING:
    from kserve_warmup.settings import WarmupSettings

T = TypeVar("T")

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

OUT_OF_BUDGET = "not reached: the budget (max_seconds) was spent"


class RequestFailedError(WarmupFailedError):
    """One request was not answered as a client expects; the message says why, in one line.

    As it stands a fault: of the model, or of the server around it.
    """


class NoAnswerError(RequestFailedError):
    """A request was sent and never answered: a fault."""


class RequestRefusedError(RequestFailedError):
    """The model refuses the request, as HTTP does with 4xx: the request is at fault, and says nothing of warmth."""


class RequestNotYetError(RequestRefusedError):
    """A refusal that the same request may not meet a moment later: no such model yet, no key yet, too many at once."""


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

        Of a language model's answer that is a :class:`TokenLatency`, whose seconds may not be all that it took.

        Raises:
            RequestFailedError: the answer is not a success, or does not come in time.
        """


class _Call(NamedTuple):
    """What a call showed; the latter two are None where nothing but the latency counts."""

    seconds: float
    took: float | None = None
    per_token: float | None = None


@dataclass
class _Sent:
    """What was sent of one stratum; ``samples`` shrinks as samples fail."""

    stratum: Stratum
    samples: list[Sample]
    share: float
    length: SameLength = field(default_factory=SameLength)
    latencies: list[float] = field(default_factory=list)
    per_token: list[float] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0
    failures: int = 0
    refused: int = 0
    error: str | None = None

    async def call(self, transport: Transport) -> _Call | None:
        """Send the next sample, the samples taking turns; return what is compared of it, None if it failed.

        A sample that fails is not sent again.
        """
        turn = self.calls % len(self.samples)
        sample = self.samples[turn]
        self.calls += 1
        started = time.perf_counter()
        try:
            latency = await transport.send(sample)
        except DependencyAwayError:
            raise
        except (RequestFailedError, SampleError) as error:  # its body's file is not what it was
            del self.samples[turn]
            if not isinstance(error, NotHereError):
                self.error = f"sample {sample.id[:12]}: {error}"
                self.refused += isinstance(error, RequestRefusedError)
                self.failures += not isinstance(error, RequestRefusedError)
            return None
        finally:
            self.seconds += time.perf_counter() - started
        call = _Call(self.length.compared(latency), *_beside(latency, time.perf_counter() - started))
        self.latencies.append(call.seconds)
        self.per_token += [] if call.per_token is None else [call.per_token]
        return call

    def report(self, verdict: Verdict) -> StratumReport:
        protocol, signature, variant, batch = self.stratum.key
        return StratumReport(
            protocol=protocol,
            signature=signature,
            variant=variant,
            batch=batch,
            share=self.share,
            calls=self.calls,
            seconds=self.seconds,
            first_ms=self.latencies[0] * 1000 if self.latencies else None,
            steady_ms=None if verdict.level is None else 1000 * verdict.level,
            converged=verdict.steady,
            failures=self.failures,
            refused=self.refused,
            error=self.error,
            latencies_ms=tuple(1000 * value for value in self.latencies),
            per_token_ms=tuple(1000 * value for value in self.per_token),
        )


def _beside(latency: float, seconds: float) -> tuple[float | None, float | None]:
    """Return what a call took in all, and its seconds per token; None where nothing but the latency counts."""
    return (max(seconds, latency), latency.per_token) if isinstance(latency, TokenLatency) else (None, None)


async def replay(
    samples: Iterable[Sample],
    transport: Transport,
    settings: WarmupSettings | Limits,
    model: str,
    *,
    deadline: float | None = None,
    known: WarmupReport | None = None,
    profiles: Mapping[StratumKey, Profile] | None = None,
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
        profiles: What earlier starts learned of strata over this transport: once it sees the same, the replay ends.
        on_call: Called with the sample before each request.

    Raises:
        DependencyAwayError: something that the model needs is away.
    """
    started = time.perf_counter()
    end = time.monotonic() + settings.max_seconds if deadline is None else deadline
    sent = {stratum: _Sent(stratum, group, share(group)) for stratum, group in by_stratum(samples).items()}
    earlier = _verdicts(known)
    judge = SteadyStateJudge(
        list(sent),
        settings.tolerance,
        profiles={stratum: profiles[stratum.key] for stratum in sent if stratum.key in profiles} if profiles else None,
        known={stratum: earlier[stratum.key] for stratum in sent if stratum.key in earlier},
        max_calls=settings.max_calls,
    )
    while time.monotonic() < end and (stratum := judge.next()) is not None:
        one = sent[stratum]
        if not one.calls:
            # What kills the process here (memory, a crash in native code) leaves no other word behind.
            logger.info("%s: warming %s over %s", model, stratum, transport.name)
        on_call(one.samples[one.calls % len(one.samples)])
        if (call := await one.call(transport)) is not None:
            judge.observe(stratum, *call)
        if not one.samples:
            judge.leave_out(stratum)
    for one in sent.values():
        if not one.calls:
            one.error = OUT_OF_BUDGET
    reports = tuple(one.report(judge.verdict(stratum)) for stratum, one in sent.items())
    return WarmupReport(
        model,
        transport.name,
        time.perf_counter() - started,
        reports,
        tolerance=settings.tolerance,
        profile=_profile_use(judge, transport.name, profiles.keys() & {s.key for s in sent}) if profiles else None,
    )


def _profile_use(judge: SteadyStateJudge[Stratum], path: str, covered: AbstractSet[StratumKey]) -> ProfileUse:
    refused = judge.profile_refused if covered else "none of its strata was learned"
    return ProfileUse(
        used=(path,) if judge.profile_used else (),
        refused=(f"{path}: {refused}",) if refused and not judge.profile_used else (),
    )


def _verdicts(report: WarmupReport | None) -> Mapping[StratumKey, Verdict]:
    return {
        s.key: Verdict(s.converged, s.calls, s.steady_ms / 1000)
        for s in (report.strata if report else ())
        if s.steady_ms is not None
    }
