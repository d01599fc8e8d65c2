"""The command line as a whole: its help, its version, its completion, and a process that calls it again."""

import logging
import os
import signal
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from kserve_warmup.cli import COMMANDS, app, main


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code or 0


def state():
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    return handlers, list(logging.getLogger().handlers), logging.getLogger().level, sys.excepthook, list(sys.path)


def test_the_version_is_the_packages(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == "kserve-warmup 0.1.0\n"


def test_a_process_may_call_it_again_and_is_left_as_it_was(capsys, tmp_path):
    before = state()

    codes = [run(*arguments) for arguments in (["--version"], ["inspect", str(tmp_path)], ["serve", "no:Model"]) * 2]

    assert codes == [0, 2, 2] * 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert said[:2] == said[2:]
    assert state() == before


def test_a_traceback_is_shown_only_when_it_is_asked_for(tmp_path):
    shown = CliRunner().invoke(app, ["--debug", "inspect", str(tmp_path)])

    assert "manifest.json is missing" in str(shown.exception)
    assert isinstance(CliRunner().invoke(app, ["inspect", str(tmp_path)]).exception, SystemExit)


def test_help_names_every_command_and_keeps_brackets(capsys):
    assert run("--help") == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in COMMANDS)
    run("sample", "--help")
    assert "(needs the extra [ray])" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("typed", "offered"), [("in", "inspect"), ("sample --max-s", "--max-samples")])
def test_a_shell_is_told_how_to_complete_commands_and_their_options(typed, offered):
    words = f"kserve-warmup {typed}"
    asked = {"_KSERVE_WARMUP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    program = [sys.executable, "-c", "from kserve_warmup.cli import main; main()"]

    done = subprocess.run(program, env=os.environ | asked, capture_output=True, text=True, check=False)

    assert done.stdout.split() == [offered]
