"""The demo's models for ``benchmarks.time_to_warm --demo``: every start has empty compile caches.

What their oracle needs is read from a long run of the cold server, each stratum's calls one after the other: the later
half's mean is its steady call, and what the earlier half cost more is its one-off cost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from statistics import fmean

from benchmarks.plain_predictors import BY_HAND_CALLS
from benchmarks.time_to_warm_models import ORACLE_CALLS
from benchmarks.time_to_warm_starts import Subject
from kserve_warmup.demo.demo_servers import Server, kserve_server
from kserve_warmup.demo.fetch import fetch
from kserve_warmup.demo.needs import check_needs
from kserve_warmup.demo.recordings import ALL_MODELS, record
from kserve_warmup.latency import Target, latency_ms, wait_ready, warm_client
from kserve_warmup.samples.sample import Sample
from kserve_warmup.sampling.reader import sample_traffic

ROOT = Path(__file__).parents[1]
PLAIN = str(ROOT / "benchmarks" / "plain_predictors.py")
LONG_RUN = 200


@contextmanager
def demo_model(name: str, max_seconds: int) -> Iterator[Subject]:
    """Yield one of the demo's models with a sample set of what its clients send."""
    check_needs([name])
    repository = ROOT / "model_repository"
    fetch(repository)

    def serve(variant: str) -> AbstractContextManager[Server]:
        if variant in ("warmup_model", "off"):
            given = samples if variant == "warmup_model" else None
            return kserve_server(repository, [name], given, warmup_seconds=max_seconds)
        by_hand = ["--by-hand=v2"] if variant == "by_hand" else []
        return kserve_server(repository, [name], program=(PLAIN, *by_hand))

    def calls(server: Server, variant: str, _count: int) -> int:
        return int((server.report() or {}).get("calls", 0)) if variant == "warmup_model" else by_hand_calls[variant]

    by_hand_calls = {"by_hand": BY_HAND_CALLS, "cold": 0, "off": 0}
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder, "samples")
        with serve("cold") as server:
            wait_ready(Target(server.http_url, name), alive=server.alive)
            recording = record(ALL_MODELS[name], server, Path(folder, "traffic.jsonl"))
        chosen, *_ = sample_traffic([recording.traffic], name)
        chosen.save(samples)
        with serve("cold") as server:
            wait_ready(Target(server.http_url, name), alive=server.alive)
            best, seconds = oracle(list(chosen), server, name)
        yield Subject(name, name, best, seconds, serve, lambda _: recording.measured, calls)


def oracle(samples: Sequence[Sample], server: Server, model: str) -> tuple[int, float]:
    """Return the calls and seconds that the cold ``server`` would have needed, after a long run of each stratum."""
    strata: dict[object, list[Sample]] = {}
    for sample in samples:
        strata.setdefault(sample.stratum, []).append(sample)
    for protocol in {sample.protocol for sample in samples}:
        warm_client(protocol)
    seconds = 0.0
    for group in strata.values():
        target = Target(server.grpc_url if group[0].protocol == "grpc" else server.http_url, model)
        run = [latency_ms(group[n % len(group)], target, 0) / 1000 for n in range(LONG_RUN)]
        steady = fmean(run[LONG_RUN // 2 :])
        seconds += max(0.0, sum(run[: LONG_RUN // 2]) - steady * (LONG_RUN // 2)) + ORACLE_CALLS * steady
    return ORACLE_CALLS * len(strata), seconds
