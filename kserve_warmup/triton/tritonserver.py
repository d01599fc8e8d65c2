"""Run a real tritonserver: NVIDIA's own, or the one inside the PyPI wheel ``nvidia-pytriton``."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from typing_extensions import Self

from kserve_warmup.errors import WarmupError, WarmupFailedError
from kserve_warmup.processes import LOG_LINES_IN_ERRORS, ServerProcess
from kserve_warmup.protocols.inference_path import url_name
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch_now
from kserve_warmup.triton.install import TritonInstall, find_tritonserver, python_runtime, stub_of

__all__ = ["TritonInstall", "TritonServer", "backend_of", "find_tritonserver"]

_ERROR_LINE = re.compile(r"E\d{4} |error: |\[libprotobuf ERROR")


class TritonServer(ServerProcess):
    """A tritonserver process on free local ports, for as long as the ``with`` block runs.

    The server's own temporary folder holds a private backend folder, so an installation that is read-only or shared is
    never written to.

    Args:
        repository: The model repository to serve.
        args: Further arguments for tritonserver, such as ``--model-control-mode=explicit``.
        env: Environment variables on top of the current ones.
        stop_seconds: Seconds to wait after SIGTERM.
    """

    def __init__(
        self,
        repository: Path | str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        stop_seconds: float = 20.0,
    ) -> None:
        """Remember how to start; nothing runs before the ``with`` block."""
        super().__init__(["tritonserver"], stop_seconds=stop_seconds)
        self.repository = Path(repository)
        self.args = tuple(args)
        self._extra_env = dict(env or {})
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start the process; see :meth:`wait_ready` for when it serves."""
        if not self.repository.is_dir():
            raise WarmupError(f"{self.repository} is not a folder: name a Triton model repository")
        with contextlib.ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kserve-warmup-triton-")))
            install = find_tritonserver()
            arguments, environment = backend_of(install, self._folder)
            self._http, self._grpc = _hold_port(stack), _hold_port(stack)
            self.command = [str(install.binary), *arguments, *self._ports(), *self.args]
            self.env = {**os.environ, **environment, **self._extra_env}
            super().__enter__()
            self._stack = stack.pop_all()
        return self

    def stop(self) -> None:
        """End the server and remove its temporary folder; safe to call twice."""
        super().stop()
        self._stack.close()

    def _ports(self) -> list[str]:
        return [
            "--http-address=127.0.0.1",
            f"--http-port={self._http}",
            "--reuse-http-port=true",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self._grpc}",
            "--reuse-grpc-port=true",
            "--allow-metrics=false",
            f"--model-repository={self.repository}",
        ]

    @property
    def http_url(self) -> str:
        """``http://127.0.0.1:<port>``."""
        return f"http://127.0.0.1:{self._http}"

    @property
    def grpc_url(self) -> str:
        """``127.0.0.1:<port>``, the form that gRPC clients take."""
        return f"127.0.0.1:{self._grpc}"

    def is_ready(self, model: str | None = None) -> bool:
        """Return whether the server, or one model of it, says that it is ready."""
        return self._says_yes(f"/v2/models/{url_name(model)}/ready" if model else "/v2/health/ready")

    def is_live(self) -> bool:
        """Return whether the server answers: unless it is in explicit mode, every model has loaded then, or failed."""
        return self._says_yes("/v2/health/live")

    def _says_yes(self, path: str) -> bool:
        try:
            return fetch_now(Address("127.0.0.1", self._http), "GET", path, {}, None, seconds=5).ok
        except ConnectionLostError:
            return False

    def wait_ready(self, timeout: float = 120.0, model: str | None = None) -> None:
        """Wait until the server (or ``model``) is ready, asking nothing but the ready endpoint: inference stays cold.

        Raises:
            WarmupFailedError: The process ended, or ``timeout`` seconds passed; carries the end of the log.
        """
        deadline = time.monotonic() + timeout
        while not self.is_ready(model):
            self.alive()
            if time.monotonic() > deadline:
                raise WarmupFailedError(f"tritonserver was not ready after {timeout:g} s:", self.last_words())
            time.sleep(0.1)

    def last_words(self) -> list[str]:
        """Return the log's last errors and last lines; its tables would push the cause out of sight."""
        lines = [line for line in self.log.splitlines() if line.strip() and not line.startswith(("|", "+"))]
        errors = [line for line in lines if _ERROR_LINE.match(line)]
        return list(dict.fromkeys([*errors[-LOG_LINES_IN_ERRORS:], *lines[-LOG_LINES_IN_ERRORS:]]))


def backend_of(install: TritonInstall, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the arguments and environment of the wheel's server, after linking its backends into a private folder."""
    wheel, python = install.wheel, install.python
    if wheel is None or python is None:
        return [], {}
    runtime = python_runtime(python)
    stub = stub_of(wheel, runtime.version)
    backend = folder / "backends" / "python"
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
        "VIRTUAL_ENV": str(install.environment),
    }
    return [f"--backend-directory={backend.parent}", f"--cache-directory={wheel / 'caches'}"], environment


def _hold_port(stack: contextlib.ExitStack) -> int:
    """Return a port that the kernel says is free, and hold it, unlistened to, so that nobody else is given it.

    Triton binds only after every model is loaded and warm, long after the choice. With SO_REUSEPORT on both sides the
    held socket does not stand in its way.
    """
    holder = stack.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    port: int = holder.getsockname()[1]
    return port
