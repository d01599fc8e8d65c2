"""A tritonserver that may crash: it runs on copies, one model in one fresh process, as cold as a new replica."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from kserve_warmup.errors import WarmupError
from kserve_warmup.triton.server import TritonServer
from kserve_warmup.triton.warmup_log import Call, calls

CACHES = ("NUMBA_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
"""Where runtimes keep compiled code between processes; a cold start has none of it."""

STALL_SECONDS = 120.0
"""A server whose log stands still for so long while it loads hangs; long compilations say nothing for a minute."""

_SAMPLE_FAILED = re.compile(r"failed to run warmup sample '.*?': (.*)")
_FAILED = re.compile(r"^E\d{4} .*?\] (.*failed.*)", re.MULTILINE | re.IGNORECASE)

Answer = TypeVar("Answer")


def caches(folder: Path) -> dict[str, str]:
    """Return environment variables that put every compilation cache into ``folder``."""
    return {name: str(folder / name.lower()) for name in CACHES}


@dataclass(frozen=True)
class Run(Generic[Answer]):
    """What one start did: the warm-up's calls, why it failed (or None), and what was asked once it was ready."""

    calls: list[Call]
    problem: str | None
    answer: Answer | None = None


@contextmanager
def copies(repository: Path, models: Sequence[str]) -> Iterator[Path]:
    """Yield a repository with copies of these models, which ends with the block.

    Raises:
        WarmupError: Something in a model's folder cannot be copied, such as a pipe, which would be waited for.
    """
    with tempfile.TemporaryDirectory(prefix="kserve-warmup-calibrate-") as folder:
        for model in models:
            pycache = shutil.ignore_patterns("__pycache__")
            try:
                shutil.copytree(repository / model, Path(folder, model), ignore=pycache, copy_function=_copy)
            except shutil.Error as error:
                where, _, why = error.args[0][0]
                raise WarmupError(f"model {model}: cannot copy {where}: {why}") from None
            except OSError as error:
                raise WarmupError(f"model {model}: cannot copy {repository / model}: {error.strerror}") from None
        yield Path(folder)


def _copy(source: str, target: str) -> None:
    if not Path(source).is_file():
        raise OSError("it is no regular file")
    shutil.copy2(source, target)


def start(repository: Path, model: str, ask: Callable[[TritonServer], Answer] | None = None) -> Run[Answer]:
    """Load ``model`` in a server of its own, ask it once it is ready, and end the server.

    Raises:
        WarmupError: There is no tritonserver on this machine.
    """
    arguments = ["--model-control-mode=explicit", f"--load-model={model}", "--log-verbose=1"]
    with tempfile.TemporaryDirectory(prefix="kserve-warmup-cold-") as cache:
        server = TritonServer(repository, arguments, env=caches(Path(cache)))
        with server:
            problem = _wait(server, model)
            answer = ask(server) if ask and problem is None else None
        return Run(calls(server.log, model), problem, answer)


def _wait(server: TritonServer, model: str) -> str | None:
    """Wait until the model is ready; return in one line why it did not get there, or None."""
    length, moved = 0, time.monotonic()
    while not server.is_ready(model):
        if server.returncode is not None:
            return _ended(server, server.returncode)
        if (now := len(server.log)) != length:
            length, moved = now, time.monotonic()
        if time.monotonic() - moved > STALL_SECONDS:
            return f"nothing happened for {STALL_SECONDS:.0f} s: it hangs"
        time.sleep(0.1)
    return None


def _ended(server: TritonServer, code: int) -> str:
    if code < 0:
        return f"the server crashed with signal {-code}"
    log = server.log
    found = _SAMPLE_FAILED.search(log) or _FAILED.search(log)
    # A message in the log is a JSON string: its lines end in a backslash and an n.
    return found[1].split("\\n")[0].strip('" ')[:200] if found else f"the server ended with code {code}"
