"""Finding tritonserver and running it: real processes, and errors that say what to do."""

import os
import time
from pathlib import Path

import pytest
from triton_repository import OUTPUT, Repository, X, infer

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.triton.install import TritonInstall, find_tritonserver, python_runtime, stub_of
from kserve_warmup.triton.tritonserver import TritonServer

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def repository(tmp_path):
    made = Repository(tmp_path)
    made.add("m", OUTPUT + X + "max_batch_size: 8\n")
    return made


def group(pid):
    """Return the processes of a process group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == pid and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


def test_a_server_answers_and_leaves_nothing_behind(repository):
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        assert infer(server, "m")[0] == 200
        pid, folder = server.pid, server._folder
        assert len(group(pid)) >= 2
    assert server.returncode == 0
    assert group(pid) == []
    assert not folder.exists()
    assert "Started HTTPService" in server.log


def test_two_servers_run_side_by_side(repository):
    with (
        TritonServer(repository.models, env=repository.env) as one,
        TritonServer(repository.models, env=repository.env) as two,
    ):
        one.wait_ready()
        two.wait_ready(model="m")
        assert one.http_url != two.http_url
        assert [infer(server, "m")[0] for server in (one, two)] == [200, 200]


def test_stubs_of_a_killed_server_are_ended_too(repository):
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        pid = server.pid
        os.kill(pid, 9)
        while server.returncode is None:
            time.sleep(0.01)
        with pytest.raises(WarmupFailedError, match="code -9"):
            server.wait_ready()
    assert group(pid) == []


def test_an_early_end_is_told_with_the_end_of_the_log(repository):
    (repository.models / "m" / "config.pbtxt").write_text("nonsense {")
    with TritonServer(repository.models) as server, pytest.raises(WarmupFailedError, match="no field named"):
        server.wait_ready()


def test_a_wait_that_is_too_long_ends(repository):
    with TritonServer(repository.models, ["--model-control-mode=explicit"]) as server:
        server.wait_ready()
        with pytest.raises(WarmupFailedError, match=r"not ready after 0\.5 s"):
            server.wait_ready(0.5, model="m")


def test_a_missing_repository_is_told_before_anything_starts(tmp_path):
    with pytest.raises(WarmupError, match="is not a folder"), TritonServer(tmp_path / "nowhere"):
        pass


def test_the_installation_is_not_written_to(repository):
    install = find_tritonserver()
    assert install.wheel is not None
    before = sorted(install.wheel.glob("backends/**/*"))
    with TritonServer(repository.models, env=repository.env) as server:
        server.wait_ready()
        assert str(server._folder) in " ".join(Path(f"/proc/{server.pid}/cmdline").read_text().split("\0"))
    assert sorted(install.wheel.glob("backends/**/*")) == before


def test_a_named_binary_comes_first(monkeypatch, tmp_path):
    binary = tmp_path / "bin" / "tritonserver"
    binary.parent.mkdir()
    binary.write_text("#!/bin/sh\n")
    monkeypatch.setenv("TRITONSERVER", str(binary))
    with pytest.raises(WarmupError, match="is not a program"):
        find_tritonserver()
    binary.chmod(0o755)
    assert find_tritonserver() == TritonInstall(binary)
    monkeypatch.delenv("TRITONSERVER")
    monkeypatch.setenv("PATH", str(binary.parent))
    assert find_tritonserver() == TritonInstall(binary)


def test_without_any_server_the_error_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.delenv("TRITONSERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KSERVE_WARMUP_TRITON_ENV", str(tmp_path))
    with pytest.raises(WarmupError, match="make triton-env"):
        find_tritonserver()


def test_nothing_is_run_for_lying_in_the_current_folder(monkeypatch, tmp_path):
    server = tmp_path / ".venv-triton/lib/python3.11/site-packages/pytriton/tritonserver/bin/tritonserver"
    server.parent.mkdir(parents=True)
    server.write_text("#!/bin/sh\ntouch was-run\n")
    server.chmod(0o755)
    for module in ("ctypes", "sysconfig"):
        (tmp_path / f"{module}.py").write_text("open('was-run', 'w')")
    monkeypatch.chdir(tmp_path)
    python = find_tritonserver().python
    monkeypatch.delenv("TRITONSERVER", raising=False)
    monkeypatch.delenv("KSERVE_WARMUP_TRITON_ENV")
    with pytest.raises(WarmupError, match=r"KSERVE_WARMUP_TRITON_ENV=\.venv-triton"):
        find_tritonserver()
    assert python is not None
    python_runtime(python)
    assert not (tmp_path / "was-run").exists()
    monkeypatch.setenv("KSERVE_WARMUP_TRITON_ENV", ".venv-triton")
    (server.parents[1] / "python_backend_stubs").mkdir()
    assert find_tritonserver().binary == server


def test_a_python_without_a_stub_is_told(tmp_path):
    with pytest.raises(WarmupError, match=r"no stub for Python 3\.7"):
        stub_of(tmp_path, "3.7")


def test_a_missing_libpython_is_told_before_triton_would_hang(tmp_path):
    # a Python whose library is nowhere: the probe's answer, from a script in its place
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho 3.11 missing\n")
    python.chmod(0o755)
    with pytest.raises(WarmupError, match=r"install libpython3\.11 "):
        python_runtime(python)


def test_the_found_runtime_has_its_library():
    install = find_tritonserver()
    assert install.python is not None
    runtime = python_runtime(install.python)
    assert runtime.version.startswith("3.")
