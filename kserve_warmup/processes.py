"""A server in a process of its own: ports for it, its log, whether it still runs, and its end with all it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import Self

from kserve_warmup.errors import WarmupError, WarmupFailedError

LOG_LINES_IN_ERRORS = 8


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1, each another one, that the kernel says are free."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return [held.getsockname()[1] for held in sockets]


class ServerProcess:
    """A command in a process group of its own, for as long as the ``with`` block runs.

    Leaving the block sends SIGTERM, and kills what is left of the group after ``stop_seconds``.

    Args:
        command: The program and its arguments.
        env: Its environment; None: the current one.
        cwd: Its working folder; None: the current one.
        name: What errors call it; None: the program.
        stop_seconds: Seconds to wait after SIGTERM.

    Attributes:
        started: When the process was started, on the clock of ``time.monotonic()``.
    """

    started: float

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        name: str | None = None,
        stop_seconds: float = 15.0,
    ) -> None:
        """Remember how to start; nothing runs before the ``with`` block."""
        self.command, self.env, self.cwd = list(command), env, cwd
        self.name = name or self.command[0]
        self.stop_seconds = stop_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._final_log: str | None = None

    def __enter__(self) -> Self:
        """Start the process, which may be long from ready.

        Raises:
            WarmupError: there is no such program.
        """
        self._output = tempfile.TemporaryFile()
        try:
            self.started = time.monotonic()
            self._process = subprocess.Popen(  # noqa: S603  (the caller's own command)
                self.command,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
            )
        except OSError as error:
            self._output.close()
            raise WarmupError(f"cannot start {self.name}: {error.strerror or error}") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process."""
        self.stop()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, which leads its group.

        Raises:
            WarmupError: it was not started.
        """
        if self._process is None:
            raise WarmupError(f"{self.name} was not started: use it in a with statement")
        return self._process

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group."""
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        """How the process ended, or None while it runs."""
        return self.process.poll()

    @property
    def log(self) -> str:
        """Everything that was written so far; kept after the process has stopped."""
        if self._final_log is not None:
            return self._final_log
        file = self._output.fileno()  # whose position is the process's: it must stay where it is
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def last_words(self) -> list[str]:
        """Return the lines of the log that tell why a process has ended."""
        return [line for line in self.log.splitlines() if line.strip()][-LOG_LINES_IN_ERRORS:]

    def alive(self) -> None:
        """Find out whether the process runs.

        Raises:
            WarmupFailedError: it has ended; carries the end of its log.
        """
        if self.returncode is not None:
            raise WarmupFailedError(
                f"{self.name} ended with code {self.returncode} before it was done:", self.last_words()
            )

    def stop(self) -> None:
        """End the process and whatever it has started; safe to call twice."""
        if self._process is None or self._final_log is not None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self.stop_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # children outlive a parent that crashed
        self._process.wait()
        self._final_log = self.log
        self._output.close()
