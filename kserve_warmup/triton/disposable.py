"""A tritonserver that may crash: it runs on copies, one model in one fresh process, as cold as a new replica.

Its own log tells of the warm-up, one line a call, with a time in microseconds: warm-up is neither traced nor timed call
by call in the statistics, but with ``--log-verbose=1`` each call of each block is announced before it runs ("model 'm'
instance m_0_0 is running warmup sample 'b' for iteration 3", src/backend_model_instance.cc).
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path

from kserve_warmup.errors import WarmupError
from kserve_warmup.triton.tritonserver import TritonServer

CACHES = ("NUMBA_CACHE_DIR", "JAX_COMPILATION_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
"""Where runtimes keep compiled code between processes; a cold start has none of it."""

LARGE = 64 << 20
"""Bytes above which a file is linked and not copied: weights of gigabytes, which no server writes to."""

STALL_SECONDS = 120.0
"""A server whose log stands still for so long while it loads hangs; long compilations say nothing for a minute."""

STUB_SECONDS = 3.0
"""The same once a Python model's process has given up, such as without model.py: tritonserver 2.51 waits for ever."""

_NO_STUB = re.compile(r"Failed to preinitialize Python stub: (.*)")
_SAMPLE_FAILED = re.compile(r"failed to run warmup sample '.*?': (.*)")
_FAILED = re.compile(r"^E\d{4} .*?\] (.*failed.*)", re.MULTILINE | re.IGNORECASE)

_CALL = re.compile(
    r"I(?P<day>\d{4}) (?P<clock>\d\d:\d\d:\d\d\.\d{6}) .*?\] (?P<quote>\"?)model '(?P<model>.*)' instance "
    r"(?P<instance>\S+) is running warmup sample '(?P<block>.*)' for iteration (?P<number>\d+)(?P=quote)\s*"
)


def caches(folder: Path) -> dict[str, str]:
    """Return environment variables that put every compilation cache into ``folder``."""
    return {name: str(folder / name.lower()) for name in CACHES}


@dataclass(frozen=True, slots=True)
class Call:
    """A call that began: of which block, on which instance, and when."""

    instance: str
    block: str
    number: int
    at: datetime


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
    if Path(source).stat().st_size > LARGE:
        Path(target).symlink_to(Path(source).resolve())
    else:
        shutil.copy2(source, target)


@contextmanager
def started(repository: Path, model: str) -> Iterator[tuple[TritonServer, str | None]]:
    """Load ``model`` in a server of its own, and yield that once it is ready, or else with the reason in a line.

    Raises:
        WarmupError: There is no tritonserver on this machine.
    """
    arguments = ["--model-control-mode=explicit", f"--load-model={model}", "--log-verbose=1"]
    with (
        tempfile.TemporaryDirectory(prefix="kserve-warmup-cold-") as cache,
        TritonServer(repository, arguments, env=caches(Path(cache))) as server,
    ):
        yield server, wait(server, partial(server.is_ready, model))


def wait(server: TritonServer, done: Callable[[], bool]) -> str | None:
    """Wait until the server is done loading; return in one line why it did not get there, or None."""
    length, moved = 0, time.monotonic()
    while not done():
        if server.returncode is not None:
            return _ended(server, server.returncode)
        if (now := len(log := server.log)) != length:
            length, moved = now, time.monotonic()
        still = time.monotonic() - moved
        if still > STUB_SECONDS and (found := _NO_STUB.search(log)):
            return found[1].strip()
        if still > STALL_SECONDS:
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


def calls(log: str, model: str) -> list[Call]:
    """Return the warm-up calls of ``model`` in the order of the log."""
    found = []
    for line in log.splitlines():
        if " is running warmup sample " not in line or not (match := _CALL.fullmatch(line)):
            continue
        if _unquoted(match["model"], quoted=bool(match["quote"])) == model:
            # The log has no year: a leap year knows every day.
            at = datetime.strptime(f"2000{match['day']} {match['clock']}", "%Y%m%d %H:%M:%S.%f")  # noqa: DTZ007
            block = _unquoted(match["block"], quoted=bool(match["quote"]))
            found.append(Call(match["instance"], block, int(match["number"]), at))
    return found


def durations(found: Iterable[Call]) -> dict[str, dict[str, list[float]]]:
    """Return the seconds that the calls of each block took, in order, by block and instance.

    A call ends when the next one of its instance begins, so the very last one of an instance has no time.
    """
    by_instance: dict[str, list[Call]] = {}
    for call in found:
        by_instance.setdefault(call.instance, []).append(call)
    series: dict[str, dict[str, list[float]]] = {}
    for instance, sequence in by_instance.items():
        for call, after in pairwise(sequence):
            took = (after.at - call.at) / timedelta(seconds=1)
            series.setdefault(call.block, {}).setdefault(instance, []).append(max(0.0, took))
    return series


def _unquoted(text: str, *, quoted: bool) -> str:
    """Undo the escapes of a message that the server wrote as a JSON string."""
    try:
        return str(json.loads(f'"{text}"')) if quoted else text
    except ValueError:
        return text
