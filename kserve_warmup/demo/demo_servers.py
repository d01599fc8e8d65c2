"""Fresh server processes for the demo: KServe and Triton, each with empty compilation caches."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kserve_warmup.processes import ServerProcess, free_ports
from kserve_warmup.triton.disposable import caches

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
    *,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run the demo's predictors in a KServe server.

    Args:
        repository: the model repository.
        models: which of its models to serve.
        samples: a sample set to warm with; None serves cold.
        program: what Python runs, if not the demo's predictors; it is given the repository, the models and ports.
        warmup_seconds: when the warm-up ends at the latest, unless after the default time.
        variables: further variables of its environment.

    Raises:
        WarmupFailedError: from ``alive``, when the process has ended; carries the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="kserve-warmup-demo-") as folder:
        http_port, grpc_port = free_ports(2)
        report = Path(folder, "report.json")
        command = [sys.executable, *program, str(repository), *models]
        command += [f"--http_port={http_port}", f"--grpc_port={grpc_port}"]
        environment = _environment(Path(folder)) | _warmup(samples, report, warmup_seconds) | dict(variables or {})
        with ServerProcess(command, env=environment, name="KServe", stop_seconds=STOP_SECONDS) as process:
            yield Server(
                http_url=f"http://127.0.0.1:{http_port}",
                grpc_url=f"127.0.0.1:{grpc_port}",
                started=process.started,
                alive=process.alive,
                report=lambda: json.loads(report.read_text()) if report.exists() else None,
            )


@contextlib.contextmanager
def triton_server(repository: Path) -> Iterator[Server]:
    """Run a real tritonserver on a repository.

    Raises:
        WarmupError: there is no tritonserver on this machine.
        WarmupFailedError: from ``alive``, when the process has ended; carries the end of its log.
    """
    from kserve_warmup.triton.tritonserver import TritonServer

    with (
        tempfile.TemporaryDirectory(prefix="kserve-warmup-demo-") as folder,
        TritonServer(repository, env=caches(Path(folder)), stop_seconds=STOP_SECONDS) as triton,
    ):
        yield Server(triton.http_url, triton.grpc_url, triton.started, triton.alive)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KSERVE_WARMUP_")}
    return kept | caches(folder)


def _warmup(samples: Path | None, report: Path, seconds: int | None) -> dict[str, str]:
    if samples is None:
        return {"KSERVE_WARMUP_ENABLED": "false"}
    budget = {} if seconds is None else {"KSERVE_WARMUP_MAX_SECONDS": str(seconds)}
    return {"KSERVE_WARMUP_SAMPLES": str(samples), "KSERVE_WARMUP_REPORT": str(report), **budget}
