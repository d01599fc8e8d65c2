"""How much later is a replica ready for its warm-up, and is it warm then? Measured from outside, against an oracle.

Fresh processes of models that differ in their base class alone: ``kserve.Model`` cold, the same with ten calls written
into ``load()`` by hand, and WarmupModel. Each is timed from its start until its ready endpoint says so; less the cold
start of the same round, that is what warm-up adds. Then requests at a steady pace give first ÷ steady, as
``kserve_warmup.latency`` says, and dearest ÷ steady, which shows what comes late. The oracle pays each one-off cost
once and two calls to each stratum on the wire; what it needs is known, for the models are made up
(``benchmarks/time_to_warm_models.py``), or with ``--demo`` is read from a long run of the cold server. In a checkout:

    python -m benchmarks.time_to_warm                      every made-up kind
    python -m benchmarks.time_to_warm --demo               the demo's models, each start with empty compile caches
    python -m benchmarks.time_to_warm --kinds slow --seed 7 --style async --protocol v1 --out /tmp/other
    python -m benchmarks.time_to_warm --kinds one_offs --set strata=20 --set 'one_offs=[[1, 0.3]]' --out /tmp/other
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.results import save
from benchmarks.time_to_warm_models import KINDS, ORACLE_CALLS, Kind, expand, oracle
from benchmarks.time_to_warm_starts import ALL_VARIANTS, HEAD, READY_TIMEOUT, VARIANTS, Subject, lines, run, summary
from kserve_warmup.demo.demo_servers import Server, kserve_server
from kserve_warmup.demo.recordings import MODELS, request
from kserve_warmup.latency import Target, latency_ms, send, wait_ready
from kserve_warmup.samples.sample import Protocol, Sample
from kserve_warmup.sampling.select import select

MODEL = "m"
PROTOCOLS: tuple[Protocol, ...] = ("v1", "v2", "v2-binary", "grpc")
HEAVY = 10_000  # floats a row: the wire costs more than the model, and is measured


def sample(kind: Kind, protocol: str, stratum: int, random: np.random.Generator) -> Sample:
    return request(protocol, x=kind.inputs(stratum, random))  # type: ignore[arg-type]


@contextmanager
def made_up(name: str, kind: Kind, options: argparse.Namespace) -> Iterator[Subject]:
    """Yield a made-up model with a sample set of its traffic, of which the first strata have the most."""
    wire = list(expand(kind, options.protocol))
    random = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as folder:
        file, samples = Path(folder, "kind.json"), Path(folder, "samples")
        file.write_text(json.dumps({"kind": asdict(kind), "protocol": options.protocol}))
        shares = [(len(wire) - number + 2, one) for number, one in enumerate(wire)]
        select([sample(kind, *one, random) for share, one in shares for _ in range(share)], MODEL).save(samples)

        def serve(variant: str) -> AbstractContextManager[Server]:
            program = ("-m", "benchmarks.time_to_warm_server", variant, options.style)
            given = samples if variant == "warmup_model" else None
            return kserve_server(file, [MODEL], given, program, options.max_seconds)

        def requests(index: int) -> list[Sample]:
            measured = wire[index % len(wire)] if options.rotate else wire[0]
            return [sample(kind, *measured, random) for _ in range(options.requests)]

        def calls(server: Server, _variant: str, count: int) -> int:
            spoken = "v1" if options.protocol == "v1" else "v2"
            answer = json.loads(send(sample(kind, spoken, 0, random), Target(server.http_url, MODEL)))
            found = answer["calls"] if spoken == "v1" else answer["outputs"][0]["data"][0]
            return int(found) - 1 - count

        best, seconds = oracle(kind, wire)
        if kind.width >= HEAVY:
            seconds += ORACLE_CALLS * wire_seconds(kind, wire, serve("cold"))
        drive = kind.settling if kind.settling > 1 else 0
        yield Subject(name, MODEL, best, seconds, serve, requests, calls, drive)


def wire_seconds(kind: Kind, wire: list[tuple[str, int]], running: AbstractContextManager[Server]) -> float:
    """Return what a call to each stratum costs on the wire, beyond the model's own: JSON and copies of a large body."""
    random, total = np.random.default_rng(3), 0.0
    with running as server:
        wait_ready(Target(server.http_url, MODEL), timeout=READY_TIMEOUT, alive=server.alive)
        for one in wire:
            url = server.grpc_url if one[0] == "grpc" else server.http_url
            latencies = [latency_ms(sample(kind, *one, random), Target(url, MODEL), 0) for _ in range(20)]
            total += median(latencies[10:]) / 1000 - kind.call
    return total


def read_files(subject: Subject, variants: list[str]) -> None:
    """Start each variant once and drop it: the machine's first imports come from the disk, and compile bytecode."""
    for variant in variants:
        with subject.serve(variant) as server:
            wait_ready(Target(server.http_url, subject.model), timeout=READY_TIMEOUT, alive=server.alive)


def kinds(options: argparse.Namespace) -> dict[str, Kind]:
    chosen = {name: KINDS[name] for name in options.kinds.split(",")}
    if options.seed is not None:
        chosen = {name: kind.jittered(options.seed) for name, kind in chosen.items()}
    given = {name: json.loads(value) for name, _, value in (one.partition("=") for one in options.set)}
    return {name: Kind.from_json(asdict(kind) | given) for name, kind in chosen.items()}


def subjects(options: argparse.Namespace) -> Iterator[AbstractContextManager[Subject]]:
    if options.demo:
        from benchmarks.time_to_warm_demo import demo_model

        yield from (demo_model(name, options.max_seconds) for name in options.models.split(","))
        return
    for name, kind in kinds(options).items():
        yield made_up(name, kind, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--variants", default=",".join(VARIANTS), help=f"of {', '.join(ALL_VARIANTS)}; cold is needed")
    parser.add_argument("--starts", type=int, default=3, help="fresh processes a variant; 10 to be published")
    parser.add_argument("--requests", type=int, default=12, help="sent to each, 0.3 s apart")
    parser.add_argument("--protocol", default="v2", choices=PROTOCOLS)
    parser.add_argument("--style", default="sync", choices=("sync", "async"), help="what predict is")
    parser.add_argument("--rotate", action="store_true", help="each start measures another stratum, not the busiest")
    parser.add_argument("--seed", type=int, help="other figures for every kind, the same ones for the same seed")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", help="a figure of every kind")
    parser.add_argument("--max-seconds", type=int, default=60, help="KSERVE_WARMUP_MAX_SECONDS")
    parser.add_argument("--demo", action="store_true", help="the demo's models instead of made-up ones")
    parser.add_argument("--models", default=",".join(MODELS), help="which of the demo's")
    parser.add_argument("--out", help="name below benchmarks/results or a path, without .json")
    options = parser.parse_args()
    variants = options.variants.split(",")
    if "cold" not in variants or not set(variants) <= set(ALL_VARIANTS):
        parser.error(f"--variants is cold and any of {', '.join(ALL_VARIANTS[1:])}")
    if unknown := [name for name in options.kinds.split(",") if name not in KINDS]:
        parser.error(f"no kind {unknown[0]!r}: use any of {', '.join(KINDS)}")
    results: dict[str, Any] = {}
    print(HEAD, flush=True)
    for opened in subjects(options):
        with opened as subject:
            if not results:
                read_files(subject, variants)
            found = run(subject, variants, options.starts, options.requests)
            results[subject.name] = summary(subject, found)
        print("\n".join(lines(subject.name, results[subject.name])), flush=True)
    made = {} if options.demo else {"parameters": {name: asdict(kind) for name, kind in kinds(options).items()}}
    default = "time_to_warm_demo" if options.demo else "time_to_warm"
    save(options.out or default, {"options": vars(options), **made, "kinds": results})


if __name__ == "__main__":
    main()
