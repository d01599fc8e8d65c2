"""Private folders go with their process, however it ends; those of processes that live stay."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from users import as_root

from kserve_warmup.caches import shadow
from kserve_warmup.caches.shadow import PREFIX

MAKE = """
import os, sys, time
from pathlib import Path
from kserve_warmup.caches import shadow
print(shadow.shadow(Path(sys.argv[1])), flush=True)
"""
EXEC = "shadow.outlive_exec(); os.execv(sys.executable, [sys.executable, '-c', 'import time; time.sleep(600)'])"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """The folder for temporary files, which is the test's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "baked").mkdir()
    return tmp_path


@pytest.fixture
def process(place):
    """Start a process that makes a private folder and then does something; return it and the folder."""
    started = []

    def _process(then):
        command = [sys.executable, "-c", f"{MAKE}\n{then}", str(place / "baked")]
        env = {**os.environ, "TMPDIR": str(place)}
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env))
        return started[-1], Path(started[-1].stdout.readline().strip())

    yield _process
    for one in started:
        one.kill()
        one.communicate()


def folders(place):
    return {path for path in place.iterdir() if path.name.startswith(PREFIX)}


def test_a_folder_goes_with_a_process_that_ends(process):
    ended, folder = process("")
    ended.wait()
    assert not folder.exists()


@pytest.mark.parametrize("then", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_what_is_left_behind_goes_with_the_next_start(process, place, then):
    ended, folder = process(then)
    ended.wait()
    assert folder.is_dir()
    made = shadow.shadow(place / "baked")
    assert folders(place) == {made}
    shadow.remove(made, os.getpid())


@pytest.mark.parametrize("then", ["time.sleep(600)", EXEC])
def test_what_a_process_holds_stays_also_when_it_becomes_another_program(process, then):
    living, folder = process(then)
    if then == EXEC:
        while b"sleep(600)'" in (line := Path(f"/proc/{living.pid}/cmdline").read_bytes()) or b"600" not in line:
            time.sleep(0.02)
    shadow.clear()
    assert folder.is_dir()
    living.kill()
    living.wait()
    shadow.clear()
    assert not folder.exists()


def test_what_others_could_have_put_there_is_not_followed(place):
    (place / "mine").mkdir()
    (place / "mine" / "file").write_text("mine")
    (place / f"{PREFIX}link").symlink_to(place / "mine")
    (place / f"{PREFIX}file").write_text("mine")
    shadow.clear()
    assert (place / "mine" / "file").read_text() == "mine"
    assert (place / f"{PREFIX}link").is_symlink()
    assert (place / f"{PREFIX}file").is_file()


@as_root  # which can give a folder away
def test_another_users_folder_is_left_alone(place):
    (place / f"{PREFIX}other").mkdir()
    os.chown(place / f"{PREFIX}other", 1234567, 0)
    shadow.clear()
    assert (place / f"{PREFIX}other").is_dir()


def test_a_folder_that_another_start_takes_for_left_behind_is_made_anew(place, monkeypatch):
    original, made = tempfile.mkdtemp, []

    def mkdtemp(**options):
        made.append(Path(original(**options)))
        if len(made) == 1:
            shadow.clear()  # between the making and the lock
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    folder = shadow.shadow(place / "baked")
    assert (len(made), folder) == (2, made[1])
    assert folder.is_dir()
    shadow.remove(folder, os.getpid())
