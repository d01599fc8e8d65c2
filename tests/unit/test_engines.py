"""Traffic read in one process or in several, in whatever pieces: the same sample set, to the byte."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import v1_sample

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.samples import SampleSet
from kserve_warmup.sampling import reader as traffic
from kserve_warmup.sampling import sketch
from kserve_warmup.sampling.digest import Digest, Job
from kserve_warmup.sampling.engines import local
from kserve_warmup.sampling.formats import lines
from kserve_warmup.sampling.formats.jsonl import write_jsonl
from kserve_warmup.sampling.formats.record import Part
from kserve_warmup.sampling.formats.storage import compressed
from kserve_warmup.sampling.reader import plan, sample_traffic
from kserve_warmup.sampling.select import Limits, choose

CONTENTS = st.lists(st.binary(max_size=12).map(lambda line: line.replace(b"\n", b"")), max_size=20).map(b"\n".join)
TRAFFIC = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 5)), min_size=1, max_size=30)


def day_of_traffic(folder: Path, files: int = 6, requests: int = 60) -> Path:
    """Files of JSON lines with requests of several protocols and shapes, and a broken line in each."""
    folder.mkdir(parents=True)
    for file in range(files):
        samples = [v1_sample(number % 3 + 1, number % 2 + 1, number * file) for number in range(requests)]
        for number in range(requests):
            tensor = Tensor("x", "FP32", np.full((1, number % 4 + 1), number, np.float32))
            protocol = ("v2", "v2-binary", "grpc")[number % 3]
            body, headers = encode(protocol, [tensor])
            samples.append(request(protocol, body, headers=headers))
        with (folder / f"{file}.jsonl").open("wb") as stream:
            write_jsonl(stream, samples)
            stream.write(b'{"instances": [[1\n')
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """All files of a sample set with their content."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def saved(folder: Path, name: str, **options) -> dict[str, bytes]:
    """The files of the sample set that a way of reading gives."""
    samples, tally = sample_traffic([folder], "m", max_bad=0.1, **options)
    assert (tally.requests, tally.bad) == (720, 6)
    return files_of(samples.save(folder.parent / name))


@pytest.fixture
def same_time(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")


@pytest.mark.usefixtures("same_time")
def test_several_processes_give_the_files_that_one_gives(tmp_path, monkeypatch):
    folder = day_of_traffic(tmp_path / "day")
    alone = saved(folder, "alone")
    monkeypatch.setattr(local, "WORTH_A_PROCESS", 1)
    pids = set()

    def engine(work, job, progress):
        def seen(size):
            pids.update(p.pid for p in multiprocessing.active_children())
            progress(size)

        return local.engine(3)(work, job, seen)

    assert saved(folder, "three", engine=engine) == alone
    assert len(pids) == 3
    assert len(alone) > 30


@pytest.mark.usefixtures("same_time")
def test_pieces_of_files_give_what_whole_files_give(tmp_path, monkeypatch):
    folder = day_of_traffic(tmp_path / "day")
    whole = saved(folder, "whole")
    monkeypatch.setattr(traffic, "PART", 1000)
    assert len(list(plan([folder]))) > 30
    assert saved(folder, "pieces") == whole


@pytest.mark.usefixtures("same_time")
def test_bodies_that_found_no_room_are_read_again(tmp_path, monkeypatch):
    folder = day_of_traffic(tmp_path / "day")
    held = saved(folder, "held")
    monkeypatch.setattr(sketch, "BODIES", 100)
    monkeypatch.setattr(traffic, "PART", 1000)
    assert saved(folder, "read-again") == held


def test_a_file_that_changes_before_it_is_read_again_is_told(tmp_path, monkeypatch):
    folder = day_of_traffic(tmp_path / "day", files=1)
    monkeypatch.setattr(sketch, "BODIES", 100)

    def engine(work, job, progress):
        digest = local.engine(1)(work, job, progress)
        (folder / "0.jsonl").write_bytes(b'{"instances": [[1]]}\n' * 500)
        return digest

    with pytest.raises(SampleError, match=r"0\.jsonl was changed while it was read"):
        sample_traffic([folder], "m", max_bad=0.1, engine=engine)


@given(CONTENTS, st.integers(1, 60), st.booleans())
def test_lines_are_read_once_each_wherever_a_file_is_cut(content, target, ends):
    content += b"\n" * ends
    expected = [line.strip() for line in content.split(b"\n") if line.strip()]
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        assume(not compressed(file.name))  # bytes that only look so
        parts = list(lines.split(file.name, target))
        read = [item for part in parts for item in lines.read(part, 1000)]
    assert [line for _, _, line in read] == expected
    assert all(content[at:].lstrip().startswith(line) for at, unit, line in read if unit == "byte")
    assert sum(part.size for part in parts) == len(content)


@settings(max_examples=50)
@given(TRAFFIC, st.integers(20, 200), st.randoms(), st.integers(1, 4), st.builds(Limits, st.integers(1, 3)))
def test_any_split_over_any_number_of_workers_in_any_order_chooses_the_same(kinds, target, random, workers, limits):
    body = b"\n".join(v1_sample(*kind).body for kind in kinds)
    with tempfile.TemporaryDirectory() as parent:
        file = Path(parent, "day.jsonl")
        file.write_bytes(body)
        job = Job(limits)
        whole = Digest(job).read([("jsonl", Part.whole(file))])
        work = [("jsonl", part) for part in lines.split(str(file), target)]
        random.shuffle(work)
        digests = [Digest(job).read(work[number::workers]) for number in range(workers)]
    merged = Digest(job)
    for digest in digests:
        merged.merge(digest)
    first, second = (choose(each.sketch, limits) for each in (whole, merged))
    assert [(k.key, k.record.body, s, w) for k, s, w in first.requests] == [
        (k.key, k.record.body, s, w) for k, s, w in second.requests
    ]
    assert (first.coverage, first.facts) == (second.coverage, second.facts)
    assert replace(whole.total(), examples=[]) == replace(merged.total(), examples=[])


def test_progress_tells_all_bytes(tmp_path):
    folder = day_of_traffic(tmp_path / "day")
    told = []
    sample_traffic([folder], "m", max_bad=0.1, progress=lambda done, total: told.append((done, total)))
    size = sum(len(content) for content in files_of(folder).values())
    assert told[-1] == (size, size)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_a_worker_that_is_killed_is_one_clear_line(tmp_path, monkeypatch):
    folder = day_of_traffic(tmp_path / "day", files=1)
    os.mkfifo(tmp_path / "stuck")  # nobody writes: its reader waits until it is killed
    monkeypatch.setattr(local, "WORTH_A_PROCESS", 1)
    work = [("jsonl", Part(str(tmp_path / "stuck"), size=9)), ("jsonl", Part(str(folder / "0.jsonl"), size=1))]

    def kill_one():
        while len(workers := multiprocessing.active_children()) < 2:
            time.sleep(0.01)
        os.kill(workers[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with pytest.raises(SampleError, match="ended with -9: is there enough memory") as caught:
        local.engine(2)(work, Job(), lambda _: None)
    killer.join()
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []


@pytest.fixture(scope="module")
def large_traffic(tmp_path_factory) -> Path:
    """Enough traffic for two processes and some tenths of a second."""
    folder = tmp_path_factory.mktemp("large")
    line = json.dumps({"inputs": [{"name": "x", "shape": [1, 9000], "datatype": "FP32", "data": [0.25] * 9000}]})
    for number in range(2):
        (folder / f"{number}.jsonl").write_text(f"{line}\n" * 2000)
    return folder


@pytest.mark.parametrize("delay", [0.1, 0.4, 0.7, 1.0, 1.3])
def test_a_kill_in_the_middle_leaves_the_old_set_or_the_new_one_and_no_process(large_traffic, tmp_path, delay):
    old = SampleSet("old", (v1_sample(1, 1, 1),))
    old.save(tmp_path / "set")
    command = [sys.executable, "-m", "kserve_warmup", "sample", str(large_traffic)]
    arguments = ["--out", str(tmp_path / "set"), "--model", "new", "--jobs", "2"]
    child = subprocess.Popen([*command, *arguments], start_new_session=True, stdout=subprocess.DEVNULL)
    time.sleep(delay)
    child.kill()
    child.wait()
    assert SampleSet.open(tmp_path / "set").model in ("old", "new")
    deadline = time.monotonic() + 30
    while alive(child.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(child.pid) == []


def alive(session: int) -> list[str]:
    """The processes of a session that are not yet gone."""
    listed = subprocess.run(["ps", "-s", str(session), "-o", "stat="], capture_output=True, text=True, check=False)
    return [state for state in listed.stdout.split() if not state.startswith("Z")]


MEMORY = """
import sys
from pathlib import Path
from kserve_warmup.sampling.select import Limits
from kserve_warmup.sampling.reader import Job, sample_traffic
samples, _ = sample_traffic([sys.argv[1]], "m", job=Job(Limits(max_samples=50)))
status = Path("/proc/self/status").read_text()
print(len(samples), next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
"""


def test_memory_stays_bounded_when_more_bodies_are_kept_than_it_would_hold(tmp_path):
    numbers = ",".join(["0.123456"] * 20_000)
    with (tmp_path / "day.jsonl").open("w") as stream:
        for number in range(1200):  # 300 strata of 4 requests: 160 MB of kept bodies
            head = {"name": "x", "shape": [1, number // 4], "datatype": "FP32"}
            stream.write(json.dumps({"id": str(number), "inputs": [head]})[:-3] + f', "data": [{numbers}]}}]}}\n')
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert done[0] == "50"
    assert int(done[1]) < 180_000  # kilobytes; the bodies alone would be 160,000 more than the 80,000 of Python itself
