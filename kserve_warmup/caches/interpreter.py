"""The Python that a command's models run on, and what it tells of itself: it may be another one than ours.

Caches are its, not ours: a Triton stub takes its packages from the first ``python3`` on PATH, a server in an
environment of its own from there. Nothing that compiles is imported to find out.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kserve_warmup.errors import WarmupError

SECONDS = 60.0
_PYTHON = re.compile(r"(python|pypy)[\d.]*")
_PROBE = """
import sys
sys.path[:] = [place for place in sys.path if place]  # what lies in the working folder stands for no module of Python's
import json, platform
from importlib.metadata import version
def told(name):
    try:
        return version(name)
    except Exception:
        return ""
python = f"{platform.python_implementation()} {platform.python_version()} {sys.implementation.cache_tag}"
print(json.dumps({"python": python, "packages": {name: told(name) for name in sys.argv[1:]}}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What a Python is: ``python`` as a fingerprint has it, and the versions of the packages that it has."""

    python: str
    packages: Mapping[str, str]


def python_of(command: Sequence[str]) -> Path | None:
    """Return the Python that runs a command's models, None if that is this very one, or none is found.

    It is the program itself, that of its first line, or else the first ``python3`` on PATH, as for Triton's stubs.
    """
    program = shutil.which(command[0])
    found = program if program and _PYTHON.fullmatch(Path(program).name) else program and _of_script(Path(program))
    found = found or shutil.which("python3")
    same = found is None or Path(found).absolute() == Path(sys.executable).absolute()  # links tell environments apart
    return None if found is None or same else Path(found)


def _of_script(program: Path) -> str | None:
    try:
        with program.open("rb") as stream:
            line = stream.readline(1024)
    except OSError:
        return None
    words = line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = words[1:]
    if not words or not _PYTHON.fullmatch(Path(words[0]).name):
        return None
    return shutil.which(words[0])


def told_by(python: Path, names: Iterable[str]) -> Interpreter:
    """Ask a Python for its version and those of the distributions with these names.

    Raises:
        WarmupError: it does not tell.
    """
    command = [str(python), "-c", _PROBE, *names]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SECONDS)  # noqa: S603
        found = json.loads(done.stdout.splitlines()[-1])
        return Interpreter(found["python"], {name: value for name, value in found["packages"].items() if value})
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise WarmupError(f"{python}, which runs the models, does not tell its version: {error}") from None
