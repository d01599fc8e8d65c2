"""What is asked of a start in turns: the requests of a stratum, or the sequences of a model that has such."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.latency import PACE_SECONDS, Target, latency_ms, warm_client
from kserve_warmup.protocols.codec import over_grpc
from kserve_warmup.replay import RequestFailedError, RequestNotYetError, RequestRefusedError
from kserve_warmup.samples import Sample, SampleSet
from kserve_warmup.samples.sample import Stratum
from kserve_warmup.samples.strata import by_stratum, share
from kserve_warmup.transports.endpoints import NO_PATHS, OwnPaths
from kserve_warmup.transports.model_kind import PLAIN, ModelKind, read_kind
from kserve_warmup.transports.readiness import lists_only
from kserve_warmup.verify.running import Running
from kserve_warmup.views.figures import TIMES

if TYPE_CHECKING:
    from kserve_warmup.transports.sequences import Steps


@dataclass(frozen=True, slots=True)
class Asking:
    """Where a start is asked, and how.

    ``headers`` go with each request, ``pace`` seconds before each; ``timeout`` seconds until there has to be a first
    answer; ``paths`` are the server's own, if it has some.
    """

    running: Running
    headers: Mapping[str, str]
    pace: float
    timeout: float
    paths: OwnPaths = NO_PATHS

    def target(self, sample: Sample, name: str, model: str, kind: ModelKind) -> Target:
        """Return where ``sample`` of the row ``name`` goes.

        Raises:
            WarmupError: the server's address for it is not known.
        """
        url = self.running.grpc_address if over_grpc(sample) else self.running.http_url
        if url is None:
            raise WarmupError(f"{name} needs HTTP, but grpc:// alone was given: name the http:// address")
        return Target(url, model, self.headers, self.paths.path_for(model), kind, self.running.grpc_address)


class Asked(Protocol):
    """Something that is asked of a model in each round.

    ``rows``: the names of what it measures, each with its share of the traffic; the first is what comes first.
    """

    @property
    def unseen(self) -> bool:
        """Return whether the warm-up may not have known it."""

    @property
    def rows(self) -> dict[str, float]:
        """Return names and shares."""

    def latencies(self, turn: int, asking: Asking) -> dict[str, float]:
        """Send the requests of a turn, and return the milliseconds that each row took."""


@dataclass(frozen=True, slots=True)
class AskedStratum:
    """A stratum of one model, with the requests that take turns."""

    model: str
    kind: ModelKind
    stratum: Stratum
    samples: list[Sample]
    unseen: bool = False

    @property
    def rows(self) -> dict[str, float]:
        """Return the stratum and its share."""
        return {row_name(self.model, self.stratum): share(self.samples)}

    def latencies(self, turn: int, asking: Asking) -> dict[str, float]:
        """Send one request; the first one again, as long as there is only a list of models behind the port."""
        (name,) = self.rows
        sample = self.samples[turn % len(self.samples)]
        target = asking.target(sample, name, self.model, self.kind)
        waits = not turn and not over_grpc(sample) and lists_only(self.samples)
        return {name: _first_answer(sample, target, asking) if waits else latency_ms(sample, target, asking.pace)}


@dataclass(frozen=True, slots=True)
class AskedSequences:
    """Sequences of one model whose steps are of the same strata, with the sequences that take turns."""

    model: str
    kind: ModelKind
    sequences: list[Steps]
    unseen: bool = False

    @property
    def rows(self) -> dict[str, float]:
        """Return the strata of the steps in their order, and the share of each."""
        groups = by_stratum(dict.fromkeys(step for steps in self.sequences for step in steps))
        first = dict.fromkeys(step.stratum for step in self.sequences[0])
        return {row_name(self.model, stratum): share(groups[stratum]) for stratum in first}

    def latencies(self, turn: int, asking: Asking) -> dict[str, float]:
        """Send one sequence; of several steps of one stratum the first counts, which meets what is new."""
        from kserve_warmup.sequence_latency import sequence_ms

        steps = self.sequences[turn % len(self.sequences)]
        names = [row_name(self.model, step.stratum) for step in steps]
        targets = [asking.target(s, n, self.model, self.kind) for s, n in zip(steps, names, strict=True)]
        found: dict[str, float] = {}
        for name, milliseconds in zip(names, sequence_ms(steps, targets, asking.pace), strict=True):
            found.setdefault(name, milliseconds)
        return found


def _first_answer(sample: Sample, target: Target, asking: Asking) -> float:
    """Return the latency of the first request that is answered.

    A front end that lists its models may have no engine yet. What it says meanwhile is nobody's answer, and no fault.
    """
    deadline = time.monotonic() + asking.timeout
    while True:
        asking.running.alive()
        try:
            return latency_ms(sample, target, asking.pace)
        except WarmupFailedError as error:
            why = error.__cause__
            refused = isinstance(why, RequestRefusedError) and not isinstance(why, RequestNotYetError)
            if refused or not isinstance(why, RequestFailedError) or time.monotonic() > deadline:
                raise
            time.sleep(PACE_SECONDS)


def row_name(model: str, stratum: Stratum) -> str:
    """Return what a person calls a stratum of a model."""
    *words, batch = stratum.key
    return f"{model}: {' '.join(filter(None, words))} {TIMES} {batch}"


def asked(
    sets: Iterable[SampleSet], kinds: Mapping[str, ModelKind], unseen: Sequence[SampleSet] = ()
) -> tuple[list[Asked], list[Asked]]:
    """Return what is asked of models whose kinds are known, the most frequent first; and the same of ``unseen`` sets.

    What ``sets`` have as well is left out of the unseen ones.
    """
    known = _of(sets, kinds, unseen=False)
    names = {name for one in known for name in one.rows}
    return known, [one for one in _of(unseen, kinds, unseen=True) if not one.rows.keys() <= names]


def _of(sets: Iterable[SampleSet], kinds: Mapping[str, ModelKind], *, unseen: bool) -> list[Asked]:
    found: list[Asked] = []
    for samples in sets:
        model, kind = samples.model, kinds.get(samples.model, PLAIN)
        if kind.sequence:
            found += _sequences(samples, kind, unseen=unseen)
        else:
            found += [AskedStratum(model, kind, s, group, unseen) for s, group in by_stratum(samples).items()]
    return sorted(found, key=lambda one: -sum(one.rows.values()))


def _sequences(samples: SampleSet, kind: ModelKind, *, unseen: bool) -> list[Asked]:
    from kserve_warmup.transports.sequences import Sequences

    planned = Sequences(samples)
    alike: dict[tuple[Stratum, ...], list[Steps]] = {}
    for steps in planned.distinct:
        alike.setdefault(tuple(step.stratum for step in steps), []).append(steps)
    others = by_stratum(sample for sample in samples if not planned.of(sample))
    found: list[Asked] = [AskedSequences(samples.model, kind, group, unseen) for group in alike.values()]
    found += [AskedStratum(samples.model, kind, stratum, group, unseen) for stratum, group in others.items()]
    return found


def learn_kinds(sets: Iterable[SampleSet], running: Running, headers: Mapping[str, str]) -> dict[str, ModelKind]:
    """Ask a server that is ready how each model wants to be asked, and make the client warm for it."""
    where = (running.http_url, running.grpc_address, headers)
    kinds = {samples.model: asyncio.run(read_kind(samples, samples.model, *where)) for samples in sets}
    for kind in kinds.values():
        if kind.decoupled:
            warm_client("grpc", kind)
    return kinds
