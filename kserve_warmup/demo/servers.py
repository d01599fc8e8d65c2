"""Fresh server processes for the demo: KServe and Triton, each with empty compilation caches."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.triton.disposable import caches

LOG_LINES_IN_ERRORS = 15
PREDICTORS = ("-m", "kserve_warmup.demo.predictors")
STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    ``started`` is the ``time.monotonic()`` of its process's start; ``alive`` raises when the process has ended;
    ``report`` returns the model's own warm-up report, or None.
    """

    http_url: str
    grpc_url: str
    started: float
    alive: Callable[[], None]
    report: Callable[[], dict[str, Any] | None] = lambda: None


@contextlib.contextmanager
def kserve_server(
    repository: Path,
    models: Sequence[str],
    samples: Path | None = None,
    program: Sequence[str] = PREDICTORS,
    warmup_seconds: int | None = None,
) -> Iterator[Server]:
    """Run the demo's predictors in a KServe server.

    Args:
        repository: the model repository.
        models: which of its models to serve.
        samples: a sample set to warm with; None serves cold.
        program: what Python runs, if not the demo's predictors; it is given the repository, the models and ports.
        warmup_seconds: when the warm-up ends at the latest, unless after the default time.

    Raises:
        WarmupFailedError: from ``alive``, when the process has ended; carries the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="kserve-warmup-demo-") as folder:
        http_port, grpc_port = free_port(), free_port()
        report, log = Path(folder, "report.json"), Path(folder, "log")
        command = [sys.executable, *program, str(repository), *models]
        started = time.monotonic()
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  (the caller's own program)
                [*command, f"--http_port={http_port}", f"--grpc_port={grpc_port}"],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=_environment(Path(folder)) | _warmup(samples, report, warmup_seconds),
            )
        try:
            yield Server(
                http_url=f"http://127.0.0.1:{http_port}",
                grpc_url=f"127.0.0.1:{grpc_port}",
                started=started,
                alive=lambda: _alive("KServe", process.poll(), log),
                report=lambda: json.loads(report.read_text()) if report.exists() else None,
            )
        finally:
            stop(process)


@contextlib.contextmanager
def triton_server(repository: Path) -> Iterator[Server]:
    """Run a real tritonserver on a repository.

    Raises:
        WarmupError: there is no tritonserver on this machine.
        WarmupFailedError: from ``alive``, when the process has ended; carries the end of its log.
    """
    from kserve_warmup.triton.server import TritonServer

    with (
        tempfile.TemporaryDirectory(prefix="kserve-warmup-demo-") as folder,
        TritonServer(repository, env=caches(Path(folder)), stop_timeout=STOP_SECONDS) as triton,
    ):

        def alive() -> None:
            if triton.returncode is not None:
                raise WarmupFailedError(_ended("tritonserver", triton.returncode, triton.log))

        yield Server(triton.http_url, triton.grpc_url, triton.started, alive)


def free_port() -> int:
    """Return a port that the kernel says is free."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process with SIGTERM, and with SIGKILL when that does not help."""
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KSERVE_WARMUP_")}
    return kept | caches(folder)


def _warmup(samples: Path | None, report: Path, seconds: int | None) -> dict[str, str]:
    if samples is None:
        return {"KSERVE_WARMUP_ENABLED": "false"}
    budget = {} if seconds is None else {"KSERVE_WARMUP_MAX_SECONDS": str(seconds)}
    return {"KSERVE_WARMUP_SAMPLES": str(samples), "KSERVE_WARMUP_REPORT": str(report), **budget}


def _alive(what: str, code: int | None, log: Path) -> None:
    if code is not None:
        raise WarmupFailedError(_ended(what, code, log.read_text(errors="replace")))


def _ended(what: str, code: int, log: str) -> str:
    end = "\n".join(log.strip().splitlines()[-LOG_LINES_IN_ERRORS:])
    return f"{what} ended with code {code} before it was done; its last words:\n{end}"
