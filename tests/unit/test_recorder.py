"""The recorder and its ring of files, without a server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from kserve_warmup.capture.capturing import Capture, folder_of, recorded_samples, scrubber_of
from kserve_warmup.capture.recorder import ENOUGH, QUEUE_BYTES, Recorder
from kserve_warmup.capture.ring import FILES, Ring
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.sampling.reader import read, sample_traffic
from kserve_warmup.settings import WarmupSettings

V1 = b'{"instances": [[1, 2], [3, 4]]}'
PATH = "/v1/models/m:predict"


def call(protocol, body: bytes, headers: dict, path) -> Record:
    return Record("", 0, body, headers, path, protocol, 200, 1.5)


def taken(folder) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def lines(folder) -> list[bytes]:
    return [line for file in sorted(folder.iterdir()) for line in file.read_bytes().splitlines()]


@pytest.fixture
def recorder(tmp_path, request):
    """Make a recorder whose counters are its own, and close it."""
    made = []

    def _recorder(**settings) -> Recorder:
        settings = WarmupSettings(capture_dir=tmp_path, capture_rate=1, **settings)
        name = f"{request.node.name}-{len(made)}"
        made.append(Recorder(name, tmp_path / "m", settings, scrubber_of(settings)))
        made[-1].name = name
        return made[-1]

    yield _recorder
    for one in made:
        one.close()


def dropped(recorder: Recorder, reason: str) -> float | None:
    labels = {"model_name": recorder.name, "reason": reason}
    return REGISTRY.get_sample_value("kserve_warmup_capture_dropped_total", labels)


def test_a_ring_keeps_the_newest_lines_whole_and_never_grows(tmp_path):
    ring = Ring(tmp_path / "ring", 16_000)
    for number in range(2000):
        ring.append([b"%010d\n" % number] * 3)
        assert taken(tmp_path / "ring") <= 16_000
    ring.close()
    kept = [int(line) for line in lines(tmp_path / "ring")]
    assert kept == sorted(kept)
    assert kept[-1] == 1999
    assert len(kept) > 16_000 / 11 * (1 - 2 / FILES)


def test_a_line_larger_than_a_file_gets_one_of_its_own(tmp_path):
    ring = Ring(tmp_path / "ring", 16_000)
    for number in range(40):
        ring.append([b"%d" % number * 100 + b"\n", b"x" * 8000 + b"\n"])
        assert taken(tmp_path / "ring") <= 16_000
    assert lines(tmp_path / "ring")[-1] == b"x" * 8000
    ring.close()


def test_rings_that_share_a_folder_go_on_after_one_has_removed_the_others_file(tmp_path):
    slow, busy = Ring(tmp_path / "ring", 16_000), Ring(tmp_path / "ring", 16_000)
    slow.append([b"first\n"])
    for _ in range(2000):
        busy.append([b"busy\n" * 5])
    assert b"first" not in lines(tmp_path / "ring")
    slow.append([b"second\n"])
    assert b"second" in lines(tmp_path / "ring")
    slow.close()
    busy.close()


@pytest.mark.parametrize(("size", "limit"), [(5_000, 64_000), (500_000, 6_500_000), (500_000, 40_000_000)])
def test_what_a_killed_process_has_recorded_can_be_read_and_takes_no_more_than_the_limit(tmp_path, size, limit):
    code = (
        "import sys, pathlib; from kserve_warmup.capture.ring import Ring\n"
        f"ring = Ring(pathlib.Path(sys.argv[1]), {limit})\n"
        f"while True: ring.append([b'{{\"instances\": [\"' + b'y' * {size} + b'\"]}}\\n'] * 3); print(flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "ring")], stdout=subprocess.PIPE)
    for _ in range(50):
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    samples, _ = sample_traffic([tmp_path / "ring"], "m", max_bad=0)
    assert {sample.body for sample in samples} == {b'{"instances": ["' + b"y" * size + b'"]}'}
    assert taken(tmp_path / "ring") <= limit


def test_a_full_disk_leaves_whole_lines_only():
    ring = Ring(Path("/dev/full"), 16_000)
    with pytest.raises(OSError, match="/dev/full"):
        ring.append([b"x\n"])


def test_what_was_recorded_is_read_back_byte_for_byte(recorder, tmp_path):
    one = recorder()
    odd = b"\xff\x00" * 70_000
    one.offer(call("v1", V1, {"content-type": "application/json", "authorization": "Bearer x"}, f"{PATH}?key=1"))
    one.offer(call("v1", V1[:-1] + b" " * 70_000 + b"}", {}, PATH))
    one.offer(call("grpc", odd, {}, None))
    one.close()
    first, _, third = lines(tmp_path / "m")
    assert b"Bearer" not in first
    assert b"key=1" not in first
    found = list(read([tmp_path / "m"]))
    assert [(s.protocol, s.path) for s in found[:2]] == [("v1", "/v1/models/{model}:predict")] * 2
    assert found[0].body == V1
    assert found[1].body == V1[:-1] + b" " * 70_000 + b"}"
    assert b"body_b64" in third
    assert oct((tmp_path / "m").stat().st_mode & 0o777) == "0o700"
    assert {oct(f.stat().st_mode & 0o777) for f in (tmp_path / "m").iterdir()} == {"0o600"}


def test_what_the_thread_cannot_take_is_dropped_whole_and_counted(recorder, tmp_path):
    one = recorder()
    with one._writing:  # the disk hangs
        for _ in range(5):
            one.offer(call("v1", b"x" * (QUEUE_BYTES // 3), {}, PATH))
    one.flush()
    assert (len(lines(tmp_path / "m")), dropped(one, "queue_full")) == (3, 2)
    one.offer(call("v1", b"x" * (one.max_bytes + 1), {}, PATH))
    assert dropped(one, "too_large") == 1
    captured = REGISTRY.get_sample_value("kserve_warmup_captured_total", {"model_name": one.name})
    assert captured == 3


def test_a_folder_that_cannot_be_written_costs_records_and_nothing_else(recorder, tmp_path):
    (tmp_path / "m").write_text("a file")
    one = recorder()
    one.offer(call("v1", V1, {}, PATH))
    one.flush()
    assert dropped(one, "disk") == 1
    (tmp_path / "m").unlink()
    one.offer(call("v1", V1, {}, PATH))
    one.flush()
    assert len(lines(tmp_path / "m")) == 1


def test_nothing_private_reaches_the_disk(recorder, tmp_path):
    (tmp_path / "rules.yaml").write_text("rules: [{path: '$.instances[*].who', action: hash}]")
    one = recorder(capture_scrub=f"strict,{tmp_path / 'rules.yaml'}")
    one.offer(call("v1", b'{"instances":[{"who":"Anna","x":1}]}', {}, PATH))
    one.offer(call("v1", b'{"instances":[{"name":"Berta","x":1}]}', {}, PATH))
    one.offer(call("v1", b"not JSON, Carla", {}, PATH))
    one.close()
    written = b"".join(lines(tmp_path / "m"))
    assert not any(name in written for name in (b"Anna", b"Berta", b"Carla"))
    assert (len(lines(tmp_path / "m")), dropped(one, "refused")) == (1, 2)


def test_a_rule_that_was_never_applied_is_told_loudly_and_every_rule_is_counted(recorder, tmp_path, caplog):
    rules = "[{input: who, action: hash}, {input: hwo, action: drop}, {input: rare, action: drop, optional: true}]"
    (tmp_path / "rules.yaml").write_text(f"rules: {rules}")
    one, enough, idle = (recorder(capture_scrub=str(tmp_path / "rules.yaml")) for _ in range(3))
    for _ in range(3):
        one.offer(call("v1", b'{"instances":[{"who":"Anna"}]}', {}, PATH))
    one.flush()
    assert not caplog.records
    one.close()
    idle.close()
    (told,) = [record.getMessage() for record in caplog.records]
    assert "'hwo: drop' was never applied to any of 3 requests" in told
    applied = [counted(one, rule) for rule in ("who: hash", "hwo: drop", "rare: drop")]
    assert applied == [3, 0, 0]
    for _ in range(ENOUGH):
        enough.offer(call("v1", b'{"instances":[{"who":"Anna"}]}', {}, PATH))
    enough.flush()
    enough.flush()
    enough.close()
    assert len(caplog.records) == 2
    assert f"any of {ENOUGH} requests" in caplog.records[1].getMessage()
    assert recorded_samples(WarmupSettings(capture_dir=tmp_path), "m")


def test_a_request_that_a_rule_cannot_be_applied_to_is_not_recorded(recorder, tmp_path):
    (tmp_path / "rules.yaml").write_text("rules: [{path: '$..who', action: hash}]")
    one = recorder(capture_scrub=str(tmp_path / "rules.yaml"))
    for who in ("[" * 150 + '"Anna"' + "]" * 150, '"Anna"', "0.5", "true"):
        one.offer(call("v1", b'{"instances":[{"who":%s}]}' % who.encode(), {}, PATH))
    one.close()
    assert (len(lines(tmp_path / "m")), dropped(one, "refused")) == (1, 3)
    assert b"Anna" not in lines(tmp_path / "m")[0]


def counted(recorder: Recorder, rule: str) -> float | None:
    labels = {"model_name": recorder.name, "rule": rule}
    return REGISTRY.get_sample_value("kserve_warmup_capture_scrubbed_total", labels)


def test_a_share_of_the_requests_is_drawn(tmp_path):
    one = Recorder("drawn", tmp_path / "m", WarmupSettings(capture_dir=tmp_path, capture_rate=0.25))
    assert 300 < sum(one.wanted() for _ in range(2000)) < 700
    one.close()


def test_the_next_start_gets_samples_of_what_was_recorded(recorder, tmp_path):
    settings = WarmupSettings(capture_dir=tmp_path)
    assert recorded_samples(settings, "m") == ()
    one = recorder()
    for _ in range(9):
        one.offer(call("v1", V1, {}, PATH))
    one.offer(call("v1", b'{"instances": [[1, 2]]}', {}, PATH))
    one.offer(call("v1", b"damaged", {}, PATH))
    one.close()
    assert [(s.batch, s.weight) for s in recorded_samples(settings, "m")] == [(2, 0.9), (1, 0.1)]


def test_the_thread_writes_by_itself(tmp_path):
    capture = Capture()
    capture.add("thread", WarmupSettings(capture_dir=tmp_path))
    capture.get("thread").offer(call("v1", V1, {}, PATH))
    deadline = time.monotonic() + 10
    while not (tmp_path / "thread").is_dir() or not lines(tmp_path / "thread"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    capture.clear()
    assert not capture


def test_what_waits_when_the_process_ends_is_written(tmp_path):
    code = (
        "from kserve_warmup.capture.capturing import CAPTURE; from kserve_warmup.settings import WarmupSettings\n"
        "from kserve_warmup.sampling.formats.record import Record\n"
        "CAPTURE.add('m', WarmupSettings()); CAPTURE.get('m').offer(Record('', 0, b'{}'))"
    )
    environment = os.environ | {"KSERVE_WARMUP_CAPTURE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert len(lines(tmp_path / "m")) == 1


def test_an_odd_request_costs_itself_and_no_other(recorder, tmp_path):
    one = recorder()
    one.offer(call("v1", V1, {}, 7))  # no path at all
    one.offer(call("v1", V1, {"accept": "\n"}, PATH))
    one.offer(call("v1", V1, {}, PATH))
    one.flush()
    assert (len(lines(tmp_path / "m")), dropped(one, "refused")) == (1, 2)


def test_folders_cannot_leave_the_one_that_was_given(tmp_path):
    settings = WarmupSettings(capture_dir=tmp_path)
    for name in ("..", ".", ".hidden", "a/../../b", "a b", "plain"):
        folder = folder_of(settings, name)
        assert folder.parent == tmp_path
        assert not folder.name.startswith(".")
        assert os.path.normpath(folder) == str(folder)
    assert folder_of(WarmupSettings(), "m") is None
