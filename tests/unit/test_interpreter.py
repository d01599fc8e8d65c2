"""Which Python runs a command's models, and what it tells of itself."""

import os
import platform
import sys
import venv
from pathlib import Path

import pytest

from kserve_warmup.caches.interpreter import python_of, told_by
from kserve_warmup.caches.this_machine import of_this_machine
from kserve_warmup.errors import WarmupError


def program(folder, name, text="#!/bin/sh\n"):
    file = folder / name
    file.write_text(text)
    file.chmod(0o755)
    return str(file)


@pytest.fixture
def bare(tmp_path):
    """An environment of the same Python, without packages."""
    venv.create(tmp_path / "bare", with_pip=False)
    return tmp_path / "bare" / "bin" / "python3"


def test_a_command_that_is_a_python_runs_on_it(tmp_path):
    other = program(tmp_path, "python3.9")
    assert python_of([other, "server.py"]) == Path(other)
    assert python_of([sys.executable, "server.py"]) is None  # this very one


def test_a_script_runs_on_the_python_of_its_first_line(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    other = program(tmp_path, "python3.9")
    assert python_of([program(tmp_path, "mlserver", f"#!{other}\n")]) == Path(other)
    assert python_of([program(tmp_path, "serve", "#!/usr/bin/env python3.9\n")]) == Path(other)


def test_any_other_program_takes_the_first_python3_on_path_as_tritons_stubs_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    first = program(tmp_path, "python3")
    for command in (program(tmp_path, "tritonserver", "\x7fELF"), program(tmp_path, "start.sh"), "/not/there"):
        assert python_of([command]) == Path(first)
    monkeypatch.setenv("PATH", "/nowhere")
    assert python_of(["tritonserver"]) is None


def test_another_python_is_asked_for_its_own_packages(bare):
    told, ours = told_by(bare, ["numpy", "pip"]), of_this_machine()
    assert told.packages == {}
    assert told.python == ours.python
    there = of_this_machine(python_program=bare)
    assert (there.packages, there.flags) == ({}, ours.flags)
    assert "numba" in ours.refusing_parts(there)
    assert platform.python_version() in there.python


def test_what_lies_in_the_working_folder_stands_for_no_module_of_pythons(bare, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('poison')")
    monkeypatch.chdir(tmp_path)
    assert told_by(bare, ["numpy"]).packages == {}


@pytest.mark.parametrize(
    "text", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho nothing\n", "#!/bin/sh\necho '[]'\n", "#!/bin/sh\n"]
)
def test_a_python_that_does_not_tell_is_one_clear_line(tmp_path, text):
    with pytest.raises(WarmupError, match="which runs the models, does not tell its version"):
        told_by(Path(program(tmp_path, "python3", text)), ["numpy"])
