"""HAProxy as a child of the gate: found, started, told what to do, and never left behind.

Nothing of it touches a disk: the configuration is a file in memory, the port is bound by the gate and handed down, and
commands go over a socket pair. So a read-only root and any user will do.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from kserve_warmup.errors import WarmupError, WarmupFailedError

OLDEST = (2, 4)
"""The first release that was tried; older ones know neither ``srv_is_up`` nor all that is asked of retries."""

COMMAND_SECONDS = 5.0

LINES = 8
"""Of what it says, for the case that it ends."""

PATHS = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"

# PR_SET_PDEATHSIG: whatever ends the gate, SIGKILL included, ends HAProxy with it
_DIES_WITH_PARENT = (
    "import ctypes, os, sys; parent, *command = sys.argv[1:]; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(parent) or sys.exit(); os.execv(command[0], command)"
)


def find() -> str:
    """Return where HAProxy is.

    Raises:
        WarmupError: it is not installed, or too old.
    """
    if not hasattr(os, "memfd_create"):
        raise WarmupError("--proxy works on Linux alone")
    program = shutil.which("haproxy", path=PATHS)
    install = "apt-get install haproxy, or take the image of docker/Dockerfile.gate"
    if program is None:
        raise WarmupError(f"--proxy needs HAProxy, which is not installed: {install}")
    try:
        said = subprocess.run([program, "-v"], check=False, capture_output=True, text=True, timeout=10).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WarmupError(f"--proxy cannot run {program}: {error}") from None
    found = re.search(r"version (\d+)\.(\d+)", said)
    if found is None or tuple(map(int, found.groups())) < OLDEST:
        raise WarmupError(
            f"--proxy needs HAProxy {OLDEST[0]}.{OLDEST[1]} or later, {program} is {said[:40]!r}: {install}"
        )
    return program


class HAProxy:
    """A running HAProxy; made by :meth:`start`."""

    def __init__(self, process: asyncio.subprocess.Process, commands: socket.socket) -> None:
        """Take the process, and our end of the pair over which connections for commands go."""
        self.process, self._commands = process, commands
        self.said: deque[str] = deque(maxlen=LINES)
        self._reading = asyncio.ensure_future(self._read())

    @classmethod
    async def start(cls, program: str, port: socket.socket, write: Callable[[int, int], str]) -> HAProxy:
        """Start it on a bound port; ``write`` makes the configuration from the port's descriptor and the commands'.

        Raises:
            WarmupFailedError: it cannot be started, or ends at once.
        """
        ours, theirs = socket.socketpair()
        file = os.memfd_create("haproxy.cfg", 0)
        try:
            os.write(file, write(port.fileno(), theirs.fileno()).encode())
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", "-c", _DIES_WITH_PARENT, str(os.getpid())),
                *(program, "-db", "-f", f"/proc/self/fd/{file}"),
                pass_fds=[file, port.fileno(), theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the gate's affair
            )
        finally:
            os.close(file)
            theirs.close()
        running = cls(process, ours)
        try:
            await running.command("show version")
        except OSError:
            await running.kill()
            raise WarmupFailedError(f"{program} ended when it was started:", running.said) from None
        return running

    async def command(self, line: str) -> str:
        """Give commands, divided by semicolons, and return what it answers.

        Raises:
            OSError: it does not answer.
        """
        try:
            answer = await asyncio.wait_for(self._ask(line), COMMAND_SECONDS)
        except (asyncio.TimeoutError, TimeoutError):
            raise OSError(errno.ETIMEDOUT, "HAProxy does not answer") from None
        if not answer:
            raise OSError(errno.EPIPE, "HAProxy has ended")
        return answer

    async def _ask(self, line: str) -> str:
        reader, writer = await self.connection()
        try:
            writer.write(f"{line}\n".encode())
            return (await reader.read()).decode(errors="replace")
        finally:
            writer.close()

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection for commands."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._commands, [b" "], [theirs.fileno()])
        return await asyncio.open_connection(sock=ours)

    def stop_taking(self) -> None:
        """Take no new connection, answer what is under way, and end with the last connection."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)

    async def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reading
        self._commands.close()

    async def _read(self) -> None:
        """Keep its last words: nobody needs them while it runs."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(line.decode(errors="replace").rstrip())
