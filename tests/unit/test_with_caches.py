"""``with-caches`` becomes its command, whatever became of what was baked; it needs Python's own library alone."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kserve_warmup.caches.interpreter import python_of
from kserve_warmup.caches.this_machine import of_this_machine, seals

ROOT = Path(__file__).parents[2]
SHOW = "import os; print(os.getpid(), os.environ.get('NUMBA_CACHE_DIR', 'none'))"


@pytest.fixture
def warm(tmp_path):
    """Return a folder that was baked for this Python."""
    (tmp_path / "warm/caches/numba").mkdir(parents=True)
    (tmp_path / "warm/caches/numba/a.nbc").write_bytes(b"program")
    write(tmp_path / "warm")
    return tmp_path / "warm"


def write(warm, **values):
    fingerprint = replace(of_this_machine(), files=seals(warm), **values)
    (warm / "fingerprint.json").write_text(fingerprint.to_json())


@pytest.fixture
def start(tmp_path):
    """Start a command behind with-caches."""

    def _start(*command, baked="", **settings):
        own = {f"KSERVE_WARMUP_{name.upper()}": str(value) for name, value in settings.items()}
        own |= {"KSERVE_WARMUP_BAKED": str(baked), "KSERVE_WARMUP_CACHE_TRUST": "writable"}
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)} | own
        own_command = [sys.executable, "-m", "kserve_warmup", "with-caches", "--", *command]
        return subprocess.Popen(own_command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return _start


def test_the_command_has_the_process_and_the_variables(start, warm, tmp_path):
    process = start(sys.executable, "-c", SHOW, baked=warm)
    out, err = process.communicate()
    pid, folder = out.split()
    assert int(pid) == process.pid
    assert Path(folder).parents[1].parent == tmp_path
    assert f"kserve-warmup: {warm}: 1 files of compile caches are at hand" in err


def test_its_signals_and_its_exit_code_are_the_commands(start, warm):
    assert start("sh", "-c", "exit 7", baked=warm).wait() == 7
    assert start("sh", "-c", "kill -TERM $$", baked=warm).wait() == -signal.SIGTERM


@pytest.mark.parametrize("settings", [{"cache": "off"}, {}], ids=["off", "damaged"])
def test_without_caches_that_can_be_used_the_command_runs_all_the_same(start, warm, settings):
    if not settings:
        (warm / "fingerprint.json").write_text("{")
    process = start(sys.executable, "-c", SHOW, baked=warm, **settings)
    out, err = process.communicate()
    assert (process.returncode, out.split()[1]) == (0, "none")
    assert err.startswith("kserve-warmup: baked caches are not used: ") == (not settings)


def test_required_caches_end_the_start_with_the_key(start, warm):
    write(warm, python="CPython 2.7")
    process = start("true", baked=warm, cache="require")
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith("kserve-warmup: KSERVE_WARMUP_CACHE=require: ")
    assert "Python: baked with CPython 2.7" in err


def test_a_program_that_is_not_there_is_one_line(start):
    process = start("no-such-program")
    assert process.communicate()[1] == "kserve-warmup: 'no-such-program': there is no such program on PATH\n"
    assert process.returncode == 2


def test_what_is_compared_is_the_python_of_the_command(start, warm, tmp_path):
    other = tmp_path / "python3"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without packages
    other.chmod(0o755)
    assert python_of([str(other)]) == other
    _, err = start(other, "-c", SHOW, baked=warm).communicate()
    assert "numba: baked with" in err
    assert "here is none" in err


def test_it_needs_no_package_but_ours(warm):
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom kserve_warmup.caches.exec_command import main\n"
    bare = [sys.executable, "-I", "-S", "-c", f"{code}main([{sys.executable!r}, '-c', {SHOW!r}])"]
    env = {**os.environ, "KSERVE_WARMUP_BAKED": str(warm), "KSERVE_WARMUP_CACHE_TRUST": "writable"}
    done = subprocess.run(bare, env=env, capture_output=True, text=True, check=True)
    assert "numba: baked with" in done.stderr  # of which this Python, without its packages, knows nothing
    assert done.stdout.split()[1] != "none"
