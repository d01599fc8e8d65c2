"""Where a tritonserver is, and the Python that its Python models run on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kserve_warmup.errors import WarmupError

ENVIRONMENT = "KSERVE_WARMUP_TRITON_ENV"
WHEEL_BINARY = "lib/python3.*/site-packages/pytriton/tritonserver/bin/tritonserver"
STUB = "triton_python_backend_stub"


@dataclass(frozen=True, slots=True)
class TritonInstall:
    """A tritonserver binary and what it needs around it.

    ``wheel`` is the folder ``pytriton/tritonserver`` when the binary comes from the wheel, else None (an installation
    that knows its own backends). ``environment`` is the wheel's virtual environment, whose Python runs Python models.
    """

    binary: Path
    wheel: Path | None = None
    environment: Path | None = None

    @property
    def python(self) -> Path | None:
        """Return the Python that runs the wheel's Python models."""
        return self.environment / "bin" / "python3" if self.environment else None


def find_tritonserver() -> TritonInstall:
    """Return the tritonserver to run.

    Looked for in ``$TRITONSERVER`` (the binary), on PATH, and as the wheel ``nvidia-pytriton`` in
    ``$KSERVE_WARMUP_TRITON_ENV`` or, without that variable, in the running environment. Nothing that merely lies in the
    current folder is run.

    Raises:
        WarmupError: There is none, or a variable names something that is not there.
    """
    named = os.environ.get("TRITONSERVER")
    if named and not os.access(named, os.X_OK):
        raise WarmupError(f"TRITONSERVER={named} is not a program: set it to the tritonserver binary or unset it")
    binary = named or shutil.which("tritonserver")
    if binary:
        return _install(Path(binary))
    environment = Path(os.environ.get(ENVIRONMENT) or sys.prefix)
    for candidate in sorted(environment.glob(WHEEL_BINARY)):
        return _install(candidate)
    raise WarmupError(
        f"no tritonserver in $TRITONSERVER, on PATH or in ${ENVIRONMENT}: in a checkout run `make triton-env` and set "
        f"{ENVIRONMENT}=.venv-triton; elsewhere set it to an environment with nvidia-pytriton and 'numpy<2'"
    )


def _install(binary: Path) -> TritonInstall:
    wheel = binary.parent.parent
    if not (wheel / "python_backend_stubs").is_dir():
        return TritonInstall(binary)
    # <environment>/lib/python3.X/site-packages/pytriton/tritonserver; absolute, but a venv's links stay as they are
    return TritonInstall(binary.absolute(), wheel.absolute(), wheel.absolute().parents[4])


@dataclass(frozen=True, slots=True)
class PythonRuntime:
    """The version of the wheel's Python (``3.11``) and the folder of its shared library."""

    version: str
    library: Path


_PROBE = """
import ctypes, os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
name = f"libpython{version}.so.1.0"
folders = [sys.prefix + "/libpython", sysconfig.get_config_var("LIBDIR"), sys.base_prefix + "/lib"]
found = next((f for f in folders if f and os.path.exists(os.path.join(f, name))), None)
if not found:
    try:
        ctypes.CDLL(name)  # the loader's own path: Debian's package, ldconfig, LD_LIBRARY_PATH
    except OSError:
        found = "missing"
print(version, found or "loader")
"""


def python_runtime(python: Path) -> PythonRuntime:
    """Return the version of ``python`` and where its ``libpython`` is, which Triton's stub is linked against.

    Raises:
        WarmupError: ``python`` does not run, or has no shared library: Triton would hang without a word.
    """
    try:
        answer = subprocess.run([python, "-I", "-c", _PROBE], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        raise WarmupError(
            f"{python} does not run ({error}): make Triton's environment anew with `make triton-env`"
        ) from error
    version, library = answer.stdout.split(maxsplit=1)
    if library.strip() == "missing":
        raise WarmupError(
            f"libpython{version}.so.1.0 is missing, which Triton's Python backend needs: "
            f"run `make triton-env` again, or install libpython{version} (libpython{version}t64 from Ubuntu 24.04 on)"
        )
    return PythonRuntime(version, Path(library.strip()))


def stub_of(wheel: Path, version: str) -> Path:
    """Return the wheel's program that runs Python models on Python ``version`` (``3.11``).

    Raises:
        WarmupError: The wheel has none for that version.
    """
    stub = wheel / "python_backend_stubs" / version / STUB
    if not stub.is_file():
        raise WarmupError(f"{wheel} has no stub for Python {version}: make Triton's environment with another Python")
    return stub
