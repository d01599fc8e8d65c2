"""What was baked into an image, used as a cluster runs it: read-only, as any user, in every worker, from a volume."""

import io
import json
import re
import tarfile
import time

import pytest
from docker_servers import BAKED, LABEL, MODEL

CACHES = "KSERVE_WARMUP_CACHE"
ANYBODY = "123456:123456"
"""A user and a group that no file of the image names."""


@pytest.fixture
def baked(start, reports):
    """Start the image whose caches are baked."""

    def _start(*arguments, mounts=(), environment=None, **options):
        variables = {"KSERVE_WARMUP_REPORT": "/reports/report.json"} | (environment or {})
        return start(
            BAKED,
            ["predictor:Predictor", f"--model_name={MODEL}", *arguments],
            http=8080,
            grpc=8081,
            mounts=[(reports, "/reports", "rw"), *mounts],
            environment=variables,
            **options,
        )

    return _start


@pytest.fixture
def volume(client, tmp_path):
    """What the image has baked, in a folder of this machine that is to be mounted."""
    container = client.containers.create(BAKED, labels=LABEL)
    parts, _ = container.get_archive("/opt/warm")
    with tarfile.open(fileobj=io.BytesIO(b"".join(parts))) as archive:
        archive.extractall(tmp_path, filter="data")
    container.remove()
    for path in (tmp_path / "warm", *(tmp_path / "warm").rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "warm"


def change(warm, **values):
    file = warm / "fingerprint.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def numbas(report):
    (one,) = [one for one in report["cache"] if one["framework"] == "numba"]
    return one["hit"], one["compiled"], one["rejected"]


def inside(server, *command):
    code, output = server.container.exec_run(list(command))
    assert code == 0, output
    return output.decode()


def private_folders(server):
    return inside(server, "find", "/tmp", "-maxdepth", "1", "-name", "kserve-warmup-caches-*").split()


@pytest.mark.parametrize("user", [None, ANYBODY, "0:0"])
def test_a_read_only_container_of_any_user_hits_what_was_baked(baked, report, user):
    server = baked(user=user, environment={CACHES: "require"}).wait_ready()
    assert numbas(report()) == (2, 0, 0)
    assert report()["cache_note"] is None
    assert "cache: 2 of 2 programs hit, 0 compiled" in server.log
    assert server.infer()["digit"]
    (private,) = private_folders(server)
    owner = (user or "1000:1000").partition(":")[0]
    assert inside(server, "stat", "-c", "%u %a", private).split() == [owner, "700"]
    assert server.stop() == 0


@pytest.mark.alone
def test_every_worker_hits_what_was_baked_and_one_that_replaces_a_dead_one_too(baked, reports):
    def workers():
        return {file.stem: json.loads(file.read_text()) for file in reports.glob("report-*.json")}

    def wait_for(count):
        deadline = time.monotonic() + 120
        while len(workers()) < count:
            assert server.running, server.log[-3000:]
            assert time.monotonic() < deadline, server.log[-3000:]
            time.sleep(0.1)

    server = baked("--workers=2", environment={CACHES: "require"}).wait_ready()
    wait_for(2)
    pid = next(iter(workers())).rpartition("-")[2]
    inside(server, "sh", "-c", f"kill -9 {pid}")
    wait_for(3)
    assert [(numbas(found), found["cache_note"]) for found in workers().values()] == [((2, 0, 0), None)] * 3
    for private in private_folders(server):
        links = inside(server, "find", private, "-type", "l", "-name", "*.nb?").split()
        assert len(links) == 3  # an index and a program of each signature
    assert server.infer()["digit"]


def test_a_volume_is_used_where_it_is_mounted_read_only_and_not_where_root_can_write_it(baked, report, volume):
    at = {"KSERVE_WARMUP_BAKED": "/data/warm"}
    baked(mounts=[(volume, "/data/warm", "ro")], environment=at | {CACHES: "require"}, user=ANYBODY).wait_ready().stop()
    assert numbas(report()) == (2, 0, 0)
    baked(mounts=[(volume, "/data/warm", "rw")], environment=at, user="0:0").wait_ready()
    assert numbas(report()) == (0, 2, 0)
    assert "/data/warm can be written by this process" in report()["cache_note"]


OTHERS = {
    "processor": ({"flags": ["avx1024"]}, r"processor flags: avx1024 is missing here"),
    "architecture": ({"arch": "riscv64"}, r"architecture: baked with riscv64, here is \w+"),
    "gpu": ({"gpu": "NVIDIA H100 (9.0)"}, r"GPU: baked with NVIDIA H100 \(9.0\), here is none"),
    "python": ({"python": "CPython 3.9.1 cpython-39"}, r"Python: baked with CPython 3.9.1 cpython-39"),
    "framework": ({"packages": {"numba": "0.1"}}, r"numba: numba: baked with 0.1, here is [\d.]+"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_caches_of_another_machine_are_refused_with_the_key_that_differs(baked, report, volume, other):
    values, said = OTHERS[other]
    change(volume, **values)
    options = {"mounts": [(volume, "/data/warm", "ro")]}
    at = {"KSERVE_WARMUP_BAKED": "/data/warm"}
    server = baked(environment=at, **options).wait_ready()
    assert numbas(report()) == (0, 2, 0)
    assert re.search(said, report()["cache_note"])
    assert re.search(said, server.log)
    required = baked(environment=at | {CACHES: "require"}, **options)
    assert required.never_ready_until_it_ends() == 1
    assert "KSERVE_WARMUP_CACHE=require" in required.log
    assert re.search(said, required.log)
