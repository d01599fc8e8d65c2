"""How slow is the first request of a decoupled and of a sequence model of Triton? Cold, and behind the gate.

The demo's small network (JAX, a compile per batch size), once answering each row of a request by a response of its own,
and once with the sum over a sequence's steps. Fresh servers, cold and gated in turns, measured as ``verify`` does: the
first response of a stream, each part of a whole sequence. Neither can be asked with a plain request.
Run in a checkout: ``python -m benchmarks.gate_streams``.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.gate_triton import REPOSITORY, cost, gate
from benchmarks.results import save
from kserve_warmup.demo.demo_servers import triton_server
from kserve_warmup.demo.recordings import digit_requests
from kserve_warmup.latency import PACE_SECONDS, Latencies, Target, wait_ready, warm_client
from kserve_warmup.samples.sample import Sample
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.sampling.select import select
from kserve_warmup.verify.asked import Asking, asked, learn_kinds
from kserve_warmup.verify.running import Running

NETWORK = "digits_mlp"
KINDS = ("cold", "gate")

MODEL = """
from pathlib import Path
import core
import numpy as np
import triton_python_backend_utils as pb

def asked(request, name):
    return pb.get_input_tensor_by_name(request, name).as_numpy()

def answer(rows):
    return pb.InferenceResponse([pb.Tensor("probabilities", rows)])

class TritonPythonModel:
    def initialize(self, args):
        self.model = core.load(Path(args["model_repository"]) / args["model_version"])
        self.sums = {}

    def probabilities(self, request):
        return self.model({"image": asked(request, "image")})["probabilities"]
"""
DECOUPLED = """
    def execute(self, requests):
        for request in requests:
            sender = request.get_response_sender()
            for row in self.probabilities(request):
                sender.send(answer(row[None]))
            sender.send(flags=pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""
SEQUENCE = """
    def execute(self, requests):
        answers = []
        for request in requests:
            name = request.correlation_id()
            if asked(request, "START").any():
                self.sums[name] = 0
            self.sums[name] = total = self.sums[name] + self.probabilities(request)
            if asked(request, "END").any():
                del self.sums[name]
            answers.append(answer(total))
        return answers
"""
CONFIG = """backend: "python"
max_batch_size: 8
input [ { name: "image" data_type: TYPE_FP32 dims: [ 64 ] } ]
output [ { name: "probabilities" data_type: TYPE_FP32 dims: [ 10 ] } ]
"""
MODELS = {
    "decoupled": (DECOUPLED, "model_transaction_policy { decoupled: true }"),
    "sequence": (
        SEQUENCE,
        """sequence_batching { oldest { max_candidate_sequences: 8 } control_input [
  { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
  { name: "END" control [ { kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ] } ] } ] }""",
    ),
}


def repository(folder: Path) -> Path:
    for name, (code, config) in MODELS.items():
        shutil.copytree(REPOSITORY / NETWORK / "1", folder / name / "1", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / name / "1" / "model.py").write_text(MODEL + code)
        (folder / name / "config.pbtxt").write_text(CONFIG + config + "\n")
    return folder


def start(kind: str, folder: Path, samples: SampleSet, requests: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(triton_server(folder / "models"))
        for model in MODELS:
            wait_ready(Target(server.http_url, model), alive=server.alive)
        facts: dict[str, Any] = {}
        if kind == "gate":
            begun = time.monotonic()
            pid, port = stack.enter_context(gate(server.http_url, server.grpc_url, folder / samples.model))
            facts = {"gate_adds_seconds": time.monotonic() - begun, **cost(pid, port)}
        running = Running(server.http_url, server.grpc_url)
        known, _ = asked([samples], learn_kinds([samples], running, {}))
        taken: dict[str, list[float]] = {}
        for turn in range(requests):
            for one in known:
                for name, milliseconds in one.latencies(turn, Asking(running, {}, PACE_SECONDS, timeout=60.0)).items():
                    taken.setdefault(name, []).append(milliseconds)
    rows = {name: Latencies(tuple(series)) for name, series in taken.items()}
    lead = rows[next(iter(known[0].rows))]
    facts |= {"first_ms": lead.first_ms, "steady_ms": lead.steady_ms, "ratio": lead.ratio}
    return facts | {"rows": {name: found.ratio for name, found in rows.items()}}


def summary(starts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = {name: median(s["rows"][name] for s in starts) for name in starts[0]["rows"]}
    middle = {key: median(s[key] for s in starts) for key in starts[0] if key not in ("ratio", "rows")}
    ratios = [s["ratio"] for s in starts]
    return {"median_ratio": median(ratios), "worst_ratio": max(ratios), **middle, "rows": rows, "ratios": ratios}


def one_row(model: str) -> tuple[Sample, ...]:
    """Return one sample for the only stratum: requests of one row, which of a sequence are from its middle."""
    return tuple(select(digit_requests("v2", (1,) * 8), model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--requests", type=int, default=12)
    options = parser.parse_args()
    warm_client("v2")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        repository(folder / "models")
        for model in MODELS:
            samples = SampleSet(model, one_row(model))
            samples.save(folder / model)
            found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
            for _ in range(options.starts):
                for kind in KINDS:
                    found[kind].append(start(kind, folder, samples, options.requests))
            results[model] = {kind: summary(starts) for kind, starts in found.items()}
            for kind, s in results[model].items():
                figures = f"first ÷ steady {s['median_ratio']:6.2f} (worst {s['worst_ratio']:.2f})"
                added = (
                    f"  the gate adds {s['gate_adds_seconds']:.1f} s, {s['gate_calls']:.0f} calls"
                    if "gate_calls" in s
                    else ""
                )
                print(
                    f"{model:10} {kind:5} {figures}  {s['first_ms']:.1f} ms, steady {s['steady_ms']:.1f}{added}",
                    flush=True,
                )
    save("gate_streams", {"models": results})


if __name__ == "__main__":
    main()
