"""Run a real tritonserver: NVIDIA's own, or the one inside the PyPI wheel ``nvidia-pytriton``."""

from __future__ import annotations

import contextlib
import http
import http.client
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.triton.install import TritonInstall, find_tritonserver, python_runtime, stub_of

__all__ = ["TritonInstall", "TritonServer", "find_tritonserver"]

LOG_LINES_IN_ERRORS = 8

_ERROR_LINE = re.compile(r"E\d{4} |error: |\[libprotobuf ERROR")


class TritonServer:
    """A tritonserver process on free local ports, for as long as the ``with`` block runs.

    The server's own temporary folder holds its log and a private backend folder, so an installation that is read-only
    or shared is never written to. Leaving the block sends SIGTERM, then kills what is left of the process group.

    Args:
        repository: The model repository to serve.
        args: Further arguments for tritonserver, such as ``--model-control-mode=explicit``.
        env: Environment variables on top of the current ones.
        install: The server to run; found when left out.
        metrics: Whether to serve Prometheus metrics on a third port.
        stop_timeout: Seconds to wait after SIGTERM.

    Attributes:
        started: When the process was started, on the clock of ``time.monotonic()``.
    """

    started: float

    def __init__(
        self,
        repository: Path | str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        install: TritonInstall | None = None,
        metrics: bool = False,
        stop_timeout: float = 20.0,
    ) -> None:
        """Remember how to start; nothing runs before the ``with`` block."""
        self.repository = Path(repository)
        self.args = tuple(args)
        self.metrics = metrics
        self.stop_timeout = stop_timeout
        self._given_install = install
        self._extra_env = dict(env or {})
        self._stack = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._final_log: str | None = None

    @cached_property
    def install(self) -> TritonInstall:
        """The server that is run."""
        return self._given_install or find_tritonserver()

    def __enter__(self) -> Self:
        """Start the process; see :meth:`wait_ready` for when it serves."""
        if not self.repository.is_dir():
            raise WarmupError(f"{self.repository} is not a folder: name a Triton model repository")
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kserve-warmup-triton-")))
            arguments, environment = self._backend()
            self._http, self._grpc, self._metrics = (_hold_port(stack, keep=keep) for keep in (True, True, False))
            self._log_file = self._folder / "log"
            with self._log_file.open("wb") as log:
                self.started = time.monotonic()
                self._process = subprocess.Popen(  # noqa: S603
                    [self.install.binary, *arguments, *self._ports(), *self.args],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    env={**os.environ, **environment, **self._extra_env},
                    start_new_session=True,
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server and remove its temporary folder."""
        self.stop()

    def _ports(self) -> list[str]:
        ports = [
            "--http-address=127.0.0.1",
            f"--http-port={self._http}",
            "--reuse-http-port=true",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self._grpc}",
            "--reuse-grpc-port=true",
            f"--model-repository={self.repository}",
        ]
        metrics = (
            ["--metrics-address=127.0.0.1", f"--metrics-port={self._metrics}"]
            if self.metrics
            else ["--allow-metrics=false"]
        )
        return ports + metrics

    def _backend(self) -> tuple[list[str], dict[str, str]]:
        """Return the arguments and environment of the wheel's server, after linking a private backend folder."""
        wheel, python = self.install.wheel, self.install.python
        if wheel is None or python is None:
            return [], {}
        runtime = python_runtime(python)
        stub = stub_of(wheel, runtime.version)
        backend = self._folder / "backends" / "python"
        backend.mkdir(parents=True)
        for file in (*(wheel / "backends" / "python").glob("*.*"), stub):
            (backend / file.name).symlink_to(file)
        # links move $ORIGIN, from which the wheel finds its bundled libraries; libpython comes from the base Python
        libraries = [str(wheel.parent.parent / "nvidia_pytriton.libs"), os.environ.get("LD_LIBRARY_PATH", "")]
        if runtime.library.is_absolute():
            libraries.insert(1, str(runtime.library))
        environment = {
            # the stub takes its prefix, and so its packages, from the first python3 on PATH
            "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
            "VIRTUAL_ENV": str(self.install.environment),
        }
        return [f"--backend-directory={backend.parent}", f"--cache-directory={wheel / 'caches'}"], environment

    @property
    def http_url(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{self._http}"

    @property
    def grpc_url(self) -> str:
        """``127.0.0.1:<port>``, the form that gRPC clients take."""
        return f"127.0.0.1:{self._grpc}"

    @property
    def metrics_url(self) -> str:
        """The address of the Prometheus metrics, served with ``metrics=True`` only."""
        return f"http://127.0.0.1:{self._metrics}/metrics"

    @property
    def pid(self) -> int:
        """The server's process id, which is also its process group."""
        return self._running().pid

    @property
    def returncode(self) -> int | None:
        """How the process ended, or None while it runs."""
        return self._running().poll()

    @property
    def log(self) -> str:
        """Everything the server has written so far; kept after it stopped."""
        if self._final_log is not None:
            return self._final_log
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            msg = "tritonserver was not started: use TritonServer in a with statement"
            raise WarmupError(msg)
        return self._process

    def is_ready(self, model: str | None = None) -> bool:
        """Return whether the server, or one model of it, says that it is ready."""
        path = f"/v2/models/{url_name(model)}/ready" if model else "/v2/health/ready"
        connection = http.client.HTTPConnection("127.0.0.1", self._http, timeout=5)  # not urllib: no proxy in between
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_ready(self, timeout: float = 120.0, model: str | None = None) -> None:
        """Wait until the server (or ``model``) is ready, asking nothing but the ready endpoint: inference stays cold.

        Raises:
            WarmupFailedError: The process ended, or ``timeout`` seconds passed; carries the end of the log.
        """
        deadline = time.monotonic() + timeout
        while not self.is_ready(model):
            if self.returncode is not None:
                raise WarmupFailedError(
                    f"tritonserver ended with code {self.returncode} before it was ready:", self._log_end()
                )
            if time.monotonic() > deadline:
                raise WarmupFailedError(f"tritonserver was not ready after {timeout:g} s:", self._log_end())
            time.sleep(0.1)

    def _log_end(self) -> list[str]:
        """Return the log's last errors and last lines; its tables would push the cause out of sight."""
        lines = [line for line in self.log.splitlines() if line.strip() and not line.startswith(("|", "+"))]
        errors = [line for line in lines if _ERROR_LINE.match(line)]
        return list(dict.fromkeys([*errors[-LOG_LINES_IN_ERRORS:], *lines[-LOG_LINES_IN_ERRORS:]]))

    def stop(self) -> None:
        """End the server: SIGTERM, then SIGKILL to whatever of its process group is left. Safe to call twice."""
        process = self._process
        if process is None or self._final_log is not None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.stop_timeout)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # stubs outlive a crashed server
        process.wait()
        self._final_log = self.log
        self._stack.close()


def _hold_port(stack: contextlib.ExitStack, *, keep: bool) -> int:
    """Return a port the kernel says is free; ``keep`` holds it, unlistened to, so that nobody else is given it.

    Triton binds only after every model is loaded and warm, long after the choice. With SO_REUSEPORT on both sides the
    held socket does not stand in its way. Its metrics port has no such option.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    if keep:
        stack.callback(holder.close)
    else:
        holder.close()
    return port
