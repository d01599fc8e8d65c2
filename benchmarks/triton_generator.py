"""How fast is the Triton generator, and how much memory does it take? ``python -m benchmarks.triton_generator``.

Two repositories are made in a temporary folder: 1,000 models with a few kilobytes of samples each, for the time of a
first run and of a run with nothing to do; and 2 GB of sample data in one set of 1,000 bodies, for the peak memory. The
command is run as a person runs it, in a process of its own, whose ``ru_maxrss`` is what is reported.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.results import save
from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples.store import SampleSet

CONFIG = """# A model of the benchmark, with a comment to keep
name: "{name}"
backend: "python"
max_batch_size: 16
input [ {{ name: "X" data_type: TYPE_FP32 dims: [ -1 ] }} ]
input [ {{ name: "T" data_type: TYPE_STRING dims: [ 1 ] optional: true }} ]
output [ {{ name: "Y" data_type: TYPE_FP32 dims: [ -1 ] }} ]
dynamic_batching {{ preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }}
instance_group [ {{ kind: KIND_CPU count: 1 }} ]  # one is enough
"""
COMMAND = (sys.executable, "-m", "benchmarks.triton_generator", "--child")


def samples(model: str, count: int, floats: int, seed: int) -> SampleSet:
    """Return ``count`` different v2 requests of ``floats`` numbers, in JSON and in binary, batches of 1, 2 and 4."""
    source = np.random.default_rng(seed)
    found = []
    for number in range(count):
        batch = (1, 2, 4)[number % 3]
        data = source.random((batch, max(1, floats // batch)), dtype=np.float32)
        text = np.array([[b"row %d" % number]] * batch, dtype=object)
        protocol = ("v2", "v2-binary")[floats > 10_000 or number % 2]
        body, headers = encode(protocol, [Tensor("X", "FP32", data), Tensor("T", "BYTES", text)])
        found.append(request(protocol, body, headers=headers, weight=1 / count))
    return SampleSet(model, tuple(found))


def make(root: Path, models: int, per_model: int, floats: int) -> None:
    """Write a repository of ``models`` models and their sample sets below ``root``."""
    for number in range(models):
        name = f"model_{number:04d}"
        (root / "models" / name / "1").mkdir(parents=True)
        (root / "models" / name / "config.pbtxt").write_text(CONFIG.format(name=name))
        samples(name, per_model, floats, number).save(root / "samples" / name)


def generate(root: Path) -> tuple[float, float]:
    """Run the command; return its seconds on the wall and its peak memory in megabytes."""
    arguments = ["triton", str(root / "models"), "--samples", str(root / "samples")]
    begin = time.perf_counter()
    child = subprocess.run([*COMMAND, *arguments], check=True, capture_output=True, text=True)
    return time.perf_counter() - begin, float(child.stderr.splitlines()[-1]) / 1024


def child(arguments: list[str]) -> None:
    """Be the command, and say at the end what memory it took."""
    import resource

    from kserve_warmup.cli import main

    sys.argv = ["kserve-warmup", *arguments]
    try:
        main()
    finally:
        sys.stderr.write(f"\n{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")


def many_models(rounds: int) -> dict[str, object]:
    """Time first and no-op runs over 1,000 models, each round on a fresh repository."""
    first, again, memory = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder), models=1000, per_model=6, floats=256)
            os.sync()  # what making it left to be written is not the generator's
            seconds, peak = generate(Path(folder))
            first.append(seconds)
            memory.append(peak)
            again.append(generate(Path(folder))[0])
    return {
        "models": 1000,
        "samples_per_model": 6,
        "first_run_seconds": first,
        "first_run_median": statistics.median(first),
        "noop_run_seconds": again,
        "noop_run_median": statistics.median(again),
        "peak_megabytes": max(memory),
    }


def much_data() -> dict[str, object]:
    """Measure memory over one sample set of 2 GB."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        name = "model_0000"
        (root / "models" / name / "1").mkdir(parents=True)
        (root / "models" / name / "config.pbtxt").write_text(CONFIG.format(name=name))
        write_large_set(root / "samples" / name, name, bodies=1000, floats=500_000)
        size = sum(f.stat().st_size for f in (root / "samples").rglob("*") if f.is_file())
        seconds, peak = generate(root)
        again, peak_again = generate(root)
        return {
            "sample_bytes": size,
            "seconds": seconds,
            "peak_megabytes": peak,
            "noop_seconds": again,
            "noop_peak_megabytes": peak_again,
        }


def write_large_set(folder: Path, model: str, bodies: int, floats: int) -> None:
    """Write a set that is larger than memory should hold: in parts, whose manifests are then joined."""
    entries: list[dict[str, object]] = []
    whole: dict[str, object] = {}
    for number in range(0, bodies, 20):
        part = folder.parent / f"part{number}"
        samples(model, 20, floats, number).save(part)
        whole = json.loads((part / "manifest.json").read_text())
        entries += whole.pop("samples")  # type: ignore[arg-type]
        (folder / "bodies").mkdir(parents=True, exist_ok=True)
        for body in (part / "bodies").iterdir():
            body.rename(folder / "bodies" / body.name)
        (part / "manifest.json").unlink()
        (part / "bodies").rmdir()
        part.rmdir()
    for entry in entries:
        entry["weight"] = 1 / bodies
    (folder / "manifest.json").write_text(json.dumps(whole | {"samples": entries}))


def main() -> None:
    """Run both and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    result = {"many_models": many_models(options.rounds), "much_data": much_data()}
    print(json.dumps(result, indent=2))
    save("triton_generator", result)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        main()
