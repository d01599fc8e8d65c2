"""A server's process: its log, its end, and the end of all that it has started."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.processes import LOG_LINES_IN_ERRORS, ServerProcess, free_ports


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_log_is_read_while_it_is_written_and_nothing_of_it_is_lost():
    code = "import time\nfor i in range(2000): print(i)\nprint('done')\ntime.sleep(60)"
    with ServerProcess(python(code)) as server:
        while "done" not in server.log:
            server.alive()
    assert server.log.split() == [*map(str, range(2000)), "done"]


def test_the_children_of_a_process_that_ignores_sigterm_end_with_it():
    code = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print(os.fork() or os.getpid())\ntime.sleep(60)"
    )
    with ServerProcess(python(code), stop_seconds=0.2) as server:
        until(lambda: len(server.log.split()) == 2)
        pids = {server.pid, *map(int, server.log.split())}
        assert len(pids) == 2
        assert all(map(runs, pids))
    until(lambda: not any(map(runs, pids)))
    assert server.returncode == -9


def test_an_early_end_is_told_with_the_end_of_the_log():
    with ServerProcess(python("for i in range(99): print('line', i)\nexit(3)"), name="the server") as server:
        until(lambda: server.returncode is not None)
        with pytest.raises(WarmupFailedError, match="the server ended with code 3 before it was done:") as failure:
            server.alive()
    lines = str(failure.value).splitlines()
    assert lines[1:] == [f"  line {i}" for i in range(99 - LOG_LINES_IN_ERRORS, 99)]


def test_what_is_no_program_is_one_line():
    with (
        pytest.raises(WarmupError, match="cannot start /nowhere/server: No such file"),
        ServerProcess(["/nowhere/server"]),
    ):
        pass


def test_a_server_that_was_not_started_says_so():
    with pytest.raises(WarmupError, match="the server was not started"):
        _ = ServerProcess(["true"], name="the server").pid


def test_stopping_twice_is_stopping_once():
    with ServerProcess(python("import time; time.sleep(60)"), env=dict(os.environ)) as server:
        server.stop()
        assert server.returncode is not None
    server.stop()


def test_free_ports_differ():
    assert len(set(free_ports(50))) == 50
