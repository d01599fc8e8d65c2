"""What one start compiles, the next one uses: the bake, and starts in fresh processes from what it made."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from held_ports import free_ports
from users import as_root

from kserve_warmup.caches.bake import remove_read_only
from kserve_warmup.caches.fingerprint import Fingerprint, read_fingerprint
from kserve_warmup.processes import ServerProcess

ROOT = Path(__file__).parents[2]
KNN = "model_repository/digits_knn/1"
UNMAPPED = 1234567
BECOME = ["setpriv", f"--reuid={UNMAPPED}", "--regid=0", "--clear-groups", "--inh-caps=-all,+dac_read_search"]
BECOME += ["--bounding-set=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
"""May write no more than such a user may; and reads an interpreter that lies in root's own home."""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app")
    folder.chmod(0o755)
    for file in ("examples/digits_knn/predictor.py", *(f"{KNN}/{name}" for name in ("core.py", "known.npz"))):
        shutil.copy(ROOT / file, folder)
    shutil.copytree(ROOT / "examples/digits_knn/warmup", folder / "warmup")
    return folder


def bake(app, out, *arguments):
    command = [sys.executable, "-m", "kserve_warmup", "bake", *arguments, "--samples", "warmup", "--out", str(out)]
    return subprocess.run(command, cwd=app, env=environment(), capture_output=True, text=True, timeout=300, check=False)


def environment(**settings):
    own = {f"KSERVE_WARMUP_{name.upper()}": str(value) for name, value in settings.items() if name.islower()}
    given = {name: str(value) for name, value in settings.items() if not name.islower()}
    return {**os.environ, "PYTHONPATH": str(ROOT)} | own | given


@pytest.fixture(scope="module")
def once_baked(app, tmp_path_factory):
    out = tmp_path_factory.mktemp("baked") / "warm"
    done = bake(app, out, "predictor:Predictor", "--json")
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout)


@pytest.fixture
def warm(once_baked, tmp_path):
    """Return a copy that a test may change."""
    folder = tmp_path / "warm"
    shutil.copytree(once_baked[0], folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


class Started(ServerProcess):
    """The example's server, with its warm-up's report once it is there, or the end of its process."""

    def __init__(self, app, tmp_path, prefix=(), **settings):
        self.report_file = tmp_path / "report.json"
        self.http, grpc = free_ports(2)
        command = [sys.executable, "-m", "kserve_warmup", "serve", "predictor:Predictor", "--http_port", str(self.http)]
        settings = {"NUMBA_CACHE_DIR": tmp_path / "own"} | settings  # not what an earlier test left beside the code
        env = environment(samples=app / "warmup", report=self.report_file, **settings)
        super().__init__([*prefix, *command, "--grpc_port", str(grpc)], cwd=app, env=env)

    def report(self):
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            if self.report_file.is_file():
                return json.loads(self.report_file.read_text())
            assert self.returncode is None, self.log
            time.sleep(0.1)
        raise AssertionError(self.log)


def report_of(app, tmp_path, warm, **settings):
    settings = {"baked": warm, "cache_trust": "writable"} | settings
    with Started(app, tmp_path, **settings) as server:
        return server.report(), server.log


def ended(app, tmp_path, warm, **settings):
    """Return how a start ended that must not get ready, and its last line."""
    with Started(app, tmp_path, baked=warm, cache_trust="writable", cache="require", **settings) as server:
        code = server.process.wait(90)
        assert not server.report_file.exists()
        return code, server.log.strip().splitlines()[-1]


def numbas(report):
    (one,) = [one for one in report["cache"] if one["framework"] == "numba"]
    return one["hit"], one["compiled"], one["rejected"]


def change(warm, **values):
    found = json.loads((warm / "fingerprint.json").read_text())
    (warm / "fingerprint.json").write_text(json.dumps(found | values))


def programs(warm):
    return sorted(warm.rglob("*.nbc"))


def test_a_bake_proves_twice_that_fresh_processes_hit(once_baked):
    out, result = once_baked
    first, *proofs = (start["cache"][0] for start in result["starts"])
    assert (first["hit"], first["compiled"]) == (0, 2)
    assert [(proof["hit"], proof["compiled"], proof["rejected"]) for proof in proofs] == [(2, 0, 0)] * 2
    assert {path for path in read_fingerprint(out).files if path.endswith(".nbc")}
    assert not any(path.stat().st_mode & 0o222 for path in (out, *out.rglob("*")))
    assert [path.name for path in out.parent.iterdir()] == ["warm"]


def test_a_later_start_hits_and_says_so(app, tmp_path, warm):
    report, log = report_of(app, tmp_path, warm)
    assert numbas(report) == (2, 0, 0)
    assert report["cache_note"] is None
    assert "cache: 2 of 2 programs hit, 0 compiled" in log


def test_a_folder_that_can_be_written_is_not_used(app, tmp_path, warm):
    report, _ = report_of(app, tmp_path, warm, cache_trust="readonly")
    assert numbas(report) == (0, 2, 0)
    assert "KSERVE_WARMUP_CACHE_TRUST=writable" in report["cache_note"]


def test_off_uses_nothing(app, tmp_path, warm):
    report, _ = report_of(app, tmp_path, warm, cache="off")
    assert numbas(report) == (0, 2, 0)
    assert report["cache_note"] is None


@pytest.mark.parametrize("damage", ["truncated", "poisoned", "gone", "a link"])
def test_a_damaged_cache_is_left_out_and_said(app, tmp_path, warm, damage):
    for program in programs(warm):
        data = program.read_bytes()
        program.unlink()
        if damage == "truncated":
            program.write_bytes(data[: len(data) // 2])
        elif damage == "poisoned":
            program.write_bytes(b"cos\nsystem\n(S'touch /tmp/poisoned'\ntR.".ljust(len(data)))
        elif damage == "a link":
            (tmp_path / program.name).write_bytes(data)
            program.symlink_to(tmp_path / program.name)
    report, _ = report_of(app, tmp_path, warm)
    assert numbas(report)[:2] == (0, 2)
    assert "left out" in report["cache_note"]


def test_a_file_that_was_not_baked_is_ignored(app, tmp_path, warm):
    (warm / "caches" / "numba" / "other.nbi").write_bytes(b"poison")
    report, _ = report_of(app, tmp_path, warm)
    assert numbas(report) == (2, 0, 0)


def test_another_processor_is_refused_and_the_flag_is_named(app, tmp_path, warm):
    change(warm, flags=[*read_fingerprint(warm).flags, "avx1024"])
    report, _ = report_of(app, tmp_path, warm)
    assert numbas(report) == (0, 2, 0)
    assert "processor flags: avx1024 is missing here" in report["cache_note"]


def test_another_version_of_a_framework_refuses_its_cache(app, tmp_path, warm):
    change(warm, packages={**read_fingerprint(warm).packages, "llvmlite": "0.1"})
    report, _ = report_of(app, tmp_path, warm)
    assert numbas(report) == (0, 2, 0)
    assert "llvmlite: baked with 0.1" in report["cache_note"]


def test_code_that_has_changed_compiles_anew(app, tmp_path, warm):
    changed = tmp_path / "app"
    shutil.copytree(app, changed)
    core = changed / "core.py"
    core.write_text(core.read_text() + "\n")
    report, log = report_of(changed, tmp_path, warm)
    assert numbas(report)[:2] == (0, 2)
    assert "code: it has changed since it was baked" in log


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "[" * 100_000])
def test_a_fingerprint_that_is_none_leaves_a_cold_start(app, tmp_path, warm, text):
    (warm / "fingerprint.json").write_text(text)
    report, _ = report_of(app, tmp_path, warm)
    assert numbas(report) == (0, 2, 0)
    assert "fingerprint.json" in report["cache_note"]


def test_required_caches_that_fit_are_used(app, tmp_path, warm):
    report, _ = report_of(app, tmp_path, warm, cache="require")
    assert numbas(report) == (2, 0, 0)


def test_required_caches_that_do_not_fit_end_the_start_with_the_key(app, tmp_path, warm):
    change(warm, python="CPython 2.7")
    code, line = ended(app, tmp_path, warm)
    assert code == 1
    assert line.startswith("kserve-warmup: KSERVE_WARMUP_CACHE=require: ")
    assert "Python: baked with CPython 2.7" in line


def test_required_caches_that_are_not_there_end_the_start(app, tmp_path):
    code, line = ended(app, tmp_path, tmp_path / "nowhere")
    assert (code, "is no folder" in line) == (1, True)


def test_required_caches_that_lack_a_program_never_get_ready(app, tmp_path, warm):
    found = json.loads((warm / "fingerprint.json").read_text())
    files = {path: seal for path, seal in found["files"].items() if not path.endswith(".nbc")}
    change(warm, files=files)
    code, line = ended(app, tmp_path, warm)
    assert (code, "numba compiled 2 programs" in line) == (1, True)


@as_root
def test_an_unmapped_user_hits_what_root_has_baked_where_only_root_writes(app, once_baked, tmp_path):
    warm = Path("/opt") / f"kserve-warmup-test-{os.getpid()}"
    shutil.copytree(once_baked[0], warm)
    tmp_path.chmod(0o777)
    try:
        with Started(app, tmp_path, BECOME, baked=warm, cache="require", HOME="/nowhere", TMPDIR=tmp_path) as server:
            assert numbas(server.report()) == (2, 0, 0)
            status = Path(f"/proc/{server.pid}/status").read_text()
            assert f"Uid:\t{UNMAPPED}" in status
    finally:
        remove_read_only(warm)


def test_a_start_without_a_writable_folder_is_cold_and_says_so(warm, app):
    code = (
        "import tempfile; tempfile.tempdir = '/proc/nowhere'\n"
        "from kserve_warmup.caches import baked; baked.begin(); print(baked.BAKED.note)"
    )
    env = environment(baked=warm, cache_trust="writable")
    done = subprocess.run([sys.executable, "-c", code], cwd=app, env=env, capture_output=True, text=True, check=True)
    assert "set TMPDIR to one" in done.stdout


@pytest.mark.parametrize("target", [("predictor",), ("python", "predictor.py")])
def test_a_target_that_cannot_be_started_is_refused(app, tmp_path, target):
    done = bake(app, tmp_path / "warm", *target)
    assert done.returncode == 2
    assert not (tmp_path / "warm").exists()


def test_a_folder_that_no_bake_made_is_not_replaced(app, tmp_path):
    (tmp_path / "warm").mkdir()
    (tmp_path / "warm" / "mine").write_text("mine")
    done = bake(app, tmp_path / "warm", "predictor:Predictor")
    assert (done.returncode, "no bake made it" in done.stderr) == (2, True)
    assert (tmp_path / "warm" / "mine").read_text() == "mine"


def test_a_server_that_fails_leaves_nothing_behind(app, tmp_path):
    done = bake(app, tmp_path / "warm", "predictor:Nobody")
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


def test_a_fingerprint_is_what_was_written(once_baked):
    found = read_fingerprint(once_baked[0])
    assert Fingerprint.from_json(found.to_json()) == found
