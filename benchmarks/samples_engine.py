"""How fast does ``sample`` read traffic, beside simpler readers? ``python -m benchmarks.samples_engine``.

Each reader runs in a process of its own, over the same files, one after the other in each round; the medians over the
rounds count. Time on the wall is told beside time on a core, which says more on a machine that others use as well.
Files are read once before, so that all find them in the page cache. What places requests must see the
same strata with the same counts as all others. ``--form many`` is traffic of some 300 strata, the usual one has 60.
``--size 10e9 --only ours`` tells whether memory stays flat.
``--ray PYTHON`` names an interpreter that has Ray: its cluster's start, which takes seconds, is told apart.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.results import save
from benchmarks.samples_readers import READERS, Strata
from kserve_warmup.sampling.digest import Digest, Job
from kserve_warmup.sampling.engines import Engine, Work, local
from kserve_warmup.sampling.reader import sample_traffic

OURS = {"ours, 1 process": 1, "ours, 2 processes": 2}
RAY = {"ours, Ray on 1 CPU": 1, "ours, Ray on 2 CPUs": 2}


def ours(files: list[Path], engine: Engine) -> Strata:
    """Sample the files, and save the set."""
    seen: list[Digest] = []

    def remembered(work: Work, job: Job, progress: Any) -> Digest:
        seen.append(engine(work, job, progress))
        return seen[0]

    samples, _ = sample_traffic(files, "m", engine=remembered)
    with tempfile.TemporaryDirectory() as folder:
        samples.save(Path(folder, "set"))
    return Strata({stratum: sketch.requests for stratum, sketch in seen[0].sketch.strata.items()})


def child(name: str, folder: str) -> None:
    """Be one reader, and say how long it took and what memory."""
    files = sorted(Path(folder).iterdir())
    started = time.perf_counter()
    if name in RAY:
        import ray

        ray.init("local", num_cpus=RAY[name], include_dashboard=False, log_to_driver=False, logging_level="error")
    begin, cpu = time.perf_counter(), _cpu_seconds()
    strata = READERS[name](files) if name in READERS else ours(files, _engine(name))
    seconds = time.perf_counter() - begin
    told = sorted((str(stratum), count) for stratum, count in (strata or {}).items())
    peak = max(_peak(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest() if strata else ""
    told_all = {
        "seconds": seconds,
        "cpu_seconds": 0 if name in RAY else _cpu_seconds() - cpu,  # a cluster's is not known here
        "megabytes": peak / 1024,
        "strata": len(told),
        "digest": digest,
    }
    print(json.dumps(told_all | {"start_seconds": begin - started}))


def _engine(name: str) -> Engine:
    if name in OURS:
        return local.engine(OURS[name])
    from kserve_warmup.sampling.engines import ray

    return ray.engine(jobs=RAY[name])


def _cpu_seconds() -> float:
    """Return the time on a core that this process and those that it has waited for took; others do not disturb it."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak() -> int:
    """Return this process's peak memory in kilobytes, without that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])


def measure(folder: Path, names: list[str], rounds: int, python: str) -> dict[str, dict[str, Any]]:
    """Run all readers in each of the rounds; return their speeds and memory."""
    size = sum(file.stat().st_size for file in folder.iterdir())
    subprocess.run(["cat", *map(str, folder.iterdir())], stdout=subprocess.DEVNULL, check=True)
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            command = [python, "-m", "benchmarks.samples_engine", "--child", name, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{name:20} {size / 1e6 / runs[name][-1]['seconds']:8.0f} MB/s", flush=True)
    digests = {run["digest"] for each in runs.values() for run in each if run["digest"]}
    assert len(digests) <= 1, "the readers saw different strata"
    return {name: _figures(size, each) for name, each in runs.items()}


def _figures(size: int, runs: list[dict[str, Any]]) -> dict[str, Any]:
    speeds = [size / 1e6 / run["seconds"] for run in runs]
    return {
        "median": statistics.median(speeds),
        "lowest": min(speeds),
        "highest": max(speeds),
        "median_a_core_second": _median(size / 1e6 / run["cpu_seconds"] for run in runs if run["cpu_seconds"]),
        "peak_megabytes": max(run["megabytes"] for run in runs),
        "strata": runs[0]["strata"],
        "start_seconds": statistics.median(run["start_seconds"] for run in runs),
    }


def _median(values: Iterable[float]) -> float | None:
    given = list(values)
    return statistics.median(given) if given else None


def main() -> None:
    """Write traffic, read it in all ways, and save the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=1e9)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--form", choices=("lines", "many", "arrays", "small", "parquet"), default="lines")
    parser.add_argument("--only", help="readers whose names begin so")
    parser.add_argument("--scratch", type=Path, help="where to write the traffic; it is deleted in the end")
    parser.add_argument("--ray", metavar="PYTHON", help="an interpreter that has Ray, to compare with it alone")
    options = parser.parse_args()
    every = (*OURS, *RAY) if options.ray else (*OURS, *READERS)
    names = [name for name in every if name.startswith(options.only or "")]
    if options.form not in ("lines", "many", "small"):
        names = [name for name in names if name in OURS or (name == "duckdb scan" and options.form == "parquet")]
    scratch = Path(tempfile.mkdtemp(dir=options.scratch))
    try:
        writer = [sys.executable, "-m", "benchmarks.samples_traffic"]
        subprocess.run([*writer, str(scratch / "traffic"), str(options.size), options.form], check=True)
        readers = measure(scratch / "traffic", names, options.rounds, options.ray or sys.executable)
    finally:
        shutil.rmtree(scratch)
    one = readers[next(iter(OURS))]["median"]
    cores = readers[next(iter(OURS))]["median_a_core_second"]
    ratios = {name: one / figures["median"] for name, figures in readers.items()}
    by_core = {name: cores / speed for name, each in readers.items() if (speed := each["median_a_core_second"])}
    result = {
        "bytes": options.size,
        "rounds": options.rounds,
        "readers": readers,
        "one_process_over": ratios,
        "one_process_over_by_core_seconds": by_core,
    }
    suffix = "" if options.form == "lines" else f"_{options.form}"
    suffix += "_ray" if options.ray else "_large" if options.size > 5e9 else ""
    save(f"samples_engine{suffix}", result)
    print(json.dumps(readers, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:4])
    else:
        main()
