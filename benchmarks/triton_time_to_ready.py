"""What does a generated ``model_warmup`` add to the time to ready, and is it enough? From outside, on fresh servers.

Models that this package has not seen, whose one-off costs are known because they sleep, and the demo's. Each is started
cold, with 50 calls a block, with the default counts, and with calibrated ones; the kinds take turns, so that whatever
else the machine does meets all of them alike. Beside what a kind adds stands the oracle: each one-off cost once, and
two calls a block. ``first`` is the first request of the heaviest stratum divided by its later ones; ``other`` the worst
of the other strata, the first of three requests divided by the other two.
Run in a checkout: ``python -m benchmarks.triton_time_to_ready``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.results import save
from kserve_warmup.demo.recordings import digit_requests
from kserve_warmup.latency import Target, latency_ms, measure
from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton.calibrate import calibrate
from kserve_warmup.triton.disposable import caches, calls, durations, started
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.repository import apply_all, plan_repository, plan_repository_removal
from kserve_warmup.triton.tritonserver import TritonServer

REPOSITORY = Path(__file__).parents[1] / "model_repository"
KINDS = ("cold", "count 50", "default", "calibrated")
LONG = 50
MEASURED = 8
WIDTHS, BATCHES = (16, 32, 64), (1, 2, 4)

SLEEPER = """
import time
import numpy as np
import triton_python_backend_utils as pb

class TritonPythonModel:
    def initialize(self, args):
        self.calls = {{}}

    def execute(self, requests):
        shapes = [pb.get_input_tensor_by_name(request, "X").as_numpy().shape for request in requests]
        rows = sum(shape[0] for shape in shapes)
        if not self.calls:
            {first}
        key = (rows, shapes[0][1])
        self.calls[key] = call = self.calls.get(key, 0) + 1
        time.sleep({call} + {row} * rows + {compile} * (call in {compiles}))
        return [pb.InferenceResponse([pb.Tensor("Y", np.zeros((shape[0], 1), np.float32))]) for shape in shapes]
"""
CONFIG = """backend: "python"
max_batch_size: {batching}
input [ {{ name: "X" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
output [ {{ name: "Y" data_type: TYPE_FP32 dims: [ {outputs} ] }} ]
instance_group [ {{ kind: KIND_CPU count: {instances} }} ]
"""


@dataclass(frozen=True)
class Case:
    """A model: seconds of a call and of each row, what a shape compiles and at which calls, what the first one does.

    ``name`` of the demo's models alone names them; their oracle is read from a long warm-up.
    """

    name: str
    call: float = 0.0
    row: float = 0.0
    compile: float = 0.0
    compiles: tuple[int, ...] = ()
    first: str = "pass"
    batching: int = 8
    instances: int = 1

    @property
    def unseen(self) -> bool:
        return bool(self.call or self.row)

    def write(self, folder: Path) -> Path:
        """Write the repository and return it."""
        target = folder / "models" / self.name
        if not self.unseen:
            shutil.copytree(REPOSITORY / self.name, target, ignore=shutil.ignore_patterns("__pycache__"))
            apply_all(plan_repository_removal(folder / "models", [self.name]).changed)
            return folder / "models"
        (target / "1").mkdir(parents=True)
        facts = {name: getattr(self, name) for name in ("call", "row", "compile", "compiles", "first")}
        (target / "1" / "model.py").write_text(SLEEPER.format(**facts))
        dims, outputs = ("-1", "1") if self.batching else ("-1, -1", "-1, 1")
        config = CONFIG.format(batching=self.batching, dims=dims, outputs=outputs, instances=self.instances)
        (target / "config.pbtxt").write_text(config)
        return folder / "models"

    def samples(self) -> tuple[Sample, ...]:
        """Return one request of each stratum, the heaviest first."""
        if not self.unseen:
            sizes = range(1, 9) if self.name == "digits_mlp" else (1, 2, 4, 8)
            made = [digit_requests("v2", (size,))[0] for size in sizes]
        else:
            made = [self._request(batch, width) for batch in BATCHES for width in WIDTHS]
        total = sum(range(1, len(made) + 1))
        return tuple(replace(sample, weight=(len(made) - n) / total) for n, sample in enumerate(made))

    def _request(self, batch: int, width: int) -> Sample:
        body, headers = encode("v2-binary", [Tensor("X", "FP32", np.zeros((batch, width), np.float32))])
        return request("v2-binary", body, headers=headers)

    def oracle(self) -> float | None:
        """Return the seconds that a perfect warm-up of one instance takes, if they are known."""
        if not self.unseen or self.first != "pass":
            return None
        strata = len(BATCHES) * len(WIDTHS)
        rows = sum(BATCHES) * len(WIDTHS)
        return 2 * (strata * self.call + rows * self.row) + strata * self.compile * len(self.compiles)


CASES = (
    Case("slow", row=0.04),
    Case("slow_unbatched_twice", row=0.04, batching=0, instances=2),
    Case("shapes", call=0.005, compile=0.2, compiles=(1,)),
    Case("shapes_unbatched_twice", call=0.005, compile=0.2, compiles=(1,), batching=0, instances=2),
    Case("recompiles", call=0.005, compile=0.1, compiles=(1, 2)),
    Case("imports", call=0.005, first="import sklearn.ensemble"),
    Case("digits_mlp"),
    Case("digits_knn"),
)


def generate(repository: Path, samples: Path, name: str, **options: Any) -> None:
    apply_all(plan_repository_removal(repository, [name]).changed)
    apply_all(plan_repository(repository, samples, [name], Options(**options)).changed)


def recorded_oracle(repository: Path, name: str) -> float:
    """Return what each one-off cost and two calls a block took in a long warm-up, of the slowest instance."""
    by_instance: dict[str, float] = {}
    with started(repository, name) as (server, _):
        pass
    for instances in durations(calls(server.log, name)).values():
        for instance, took in instances.items():
            level = median(took[len(took) // 2 :])
            dear = sum(call - level for call in took[: len(took) // 2] if call > 1.5 * level)
            by_instance[instance] = by_instance.get(instance, 0.0) + dear + 2 * level
    return max(by_instance.values())


def measured_start(repository: Path, name: str, samples: Sequence[Sample]) -> dict[str, float]:
    """Start a server, with empty compile caches, and measure it from outside."""
    with tempfile.TemporaryDirectory() as cache:
        begin = time.monotonic()
        with TritonServer(repository, env=caches(Path(cache))) as server:
            server.wait_ready(timeout=300)
            ready = time.monotonic() - begin
            target = Target(server.http_url, name)
            first = measure(samples[:1], target, MEASURED)
            others = []
            for sample in samples[1:]:
                latencies = [latency_ms(sample, target, 0.1) for _ in range(3)]
                others.append(latencies[0] / median(latencies[1:]))
    return {"ready": ready, "first": first.ratio, "first_ms": first.first_ms, "other": max(others)}


def run(case: Case, starts: int, kinds: Sequence[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = case.samples()
        SampleSet(case.name, made).save(folder / "samples" / case.name)
        samples = folder / "samples"
        repositories = {}
        for kind in kinds:
            repositories[kind] = case.write(folder / kind.replace(" ", "-"))  # the Python backend takes no spaces
            if kind.startswith("count"):
                generate(repositories[kind], samples, case.name, count=int(kind.split()[1]))
            elif kind == "default":
                generate(repositories[kind], samples, case.name)
        facts: dict[str, Any] = {"oracle_seconds": case.oracle()}
        if facts["oracle_seconds"] is None:
            long = case.write(folder / "oracle")
            generate(long, samples, case.name, count=LONG)
            facts["oracle_seconds"] = recorded_oracle(long, case.name)
        if "calibrated" in kinds:
            begin = time.monotonic()
            (found,) = calibrate(repositories["calibrated"], samples, [case.name], Options(), lambda _: None)
            facts["calibration_seconds"] = time.monotonic() - begin
            facts["calibrated_counts"] = list(found.counts.values())
            generate(repositories["calibrated"], samples, case.name, counts={case.name: found.counts})
        all_starts: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
        for index in range(starts):
            for kind in (*kinds[index % len(kinds) :], *kinds[: index % len(kinds)]):
                all_starts[kind].append(measured_start(repositories[kind], case.name, made))
    return facts | {"kinds": {kind: summary(all_starts, kind, facts["oracle_seconds"]) for kind in kinds}}


def summary(starts: dict[str, list[dict[str, float]]], kind: str, oracle: float) -> dict[str, Any]:
    middle = {key: median(s[key] for s in starts[kind]) for key in starts[kind][0]}
    added = middle["ready"] - median(s["ready"] for s in starts["cold"])
    return middle | {
        "worst_first": max(s["first"] for s in starts[kind]),
        "added": added,
        "added_by_oracle": added / oracle,
        "starts": starts[kind],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--dry", action="store_true", help="Do not save the result.")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    loads = []
    for case in (case for case in CASES if case.name in options.cases):
        loads.append(os.getloadavg()[0])
        found = results[case.name] = run(case, options.starts, options.kinds)
        print(
            f"{case.name}: oracle {found['oracle_seconds']:.2f} s, load {loads[-1]:.1f}", found.get("calibrated_counts")
        )
        for kind, s in found["kinds"].items():
            added = f"adds {s['added']:6.2f} s, {s['added_by_oracle']:5.2f} oracles"
            print(
                f"  {kind:11} {added}; first {s['first']:6.2f} (worst {s['worst_first']:.2f}), other {s['other']:.2f}"
            )
        sys.stdout.flush()
        if not options.dry:  # after each model: the whole takes half an hour
            save("triton_time_to_ready", {"starts": options.starts, "loads": loads, "models": results})


if __name__ == "__main__":
    main()
