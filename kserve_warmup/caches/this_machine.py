"""What this machine, this Python, this project and this sample set are, as far as baked caches depend on it.

The code is every Python source below the working folder, from which ``serve`` imports; environments and hidden folders
left out. The sample set is its manifests, which hold the hash of each body.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from kserve_warmup.caches.fingerprint import CACHES, PACKAGES, PROFILE, Fingerprint, Seal
from kserve_warmup.caches.interpreter import told_by

MOST_SOURCES = 2_000


def of_this_machine(
    samples: Path | None = None, project: Path | None = None, python_program: Path | None = None
) -> Fingerprint:
    """Return what this process is, without files; no framework is imported.

    Args:
        samples: Folder of the sample set, or of one such folder per model.
        project: Below which the sources lie; None: the working folder.
        python_program: The Python that runs the models; None: this one.

    Raises:
        WarmupError: ``python_program`` does not tell its versions.
    """
    processor, flags = _processor()
    gpu, driver = _gpus()
    names = tuple(dict.fromkeys(name for names in PACKAGES.values() for name in names))
    if python_program is None:
        python = f"{platform.python_implementation()} {platform.python_version()} {sys.implementation.cache_tag}"
        packages: Mapping[str, str] = {name: found for name in names if (found := _version(name))}
    else:
        told = told_by(python_program, names)
        python, packages = told.python, told.packages
    code, samples_hash = _code(project), _samples(samples)
    return Fingerprint(platform.machine(), processor, flags, gpu, driver, python, packages, code, samples_hash)


def seals(folder: Path) -> dict[str, Seal]:
    """Return the seal of each file below ``caches/``, and of the profile if there is one; links are left out."""
    found = {}
    for file in [folder / PROFILE, *sorted((folder / CACHES).rglob("*"))]:
        if file.is_file() and not file.is_symlink():
            with file.open("rb") as stream:
                found[file.relative_to(folder).as_posix()] = Seal(file.stat().st_size, _digest(stream))
    return found


def _digest(stream: Any) -> str:
    whole = hashlib.sha256()
    while part := stream.read(1 << 20):
        whole.update(part)
    return whole.hexdigest()


def _version(name: str) -> str:
    try:
        return version(name)
    except (PackageNotFoundError, ValueError, OSError):
        return ""


def _processor() -> tuple[str, tuple[str, ...]]:
    try:
        first = Path("/proc/cpuinfo").read_text(errors="replace").partition("\n\n")[0]
    except OSError:
        return "", ()
    fields = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in first.splitlines())}
    flags = fields.get("flags") or fields.get("Features") or ""
    return fields.get("model name") or fields.get("CPU part") or "", tuple(sorted(set(flags.split())))


def _gpus() -> tuple[str, str]:
    tool = shutil.which("nvidia-smi")
    if tool is None or not Path("/dev/nvidiactl").exists():
        return "", ""
    asked = [tool, "--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return "", ""
    rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines() if line.count(",") == 2]  # noqa: PLR2004
    kinds = sorted({f"{name} ({capability})" for name, capability, _ in rows})
    return ", ".join(kinds), rows[0][2] if rows else ""


def _code(project: Path | None) -> str:
    folder = project or Path.cwd()
    if folder == Path(folder.anchor):
        return ""
    files = list(islice(_sources(folder), MOST_SOURCES + 1))
    if len(files) > MOST_SOURCES:
        return ""  # no project: what is not known is not compared
    try:
        return _of_all(folder, files)
    except OSError:
        return ""


def _sources(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        skipped = (name for name in folders if (Path(place) / name / "pyvenv.cfg").exists())
        left_out = {"site-packages", "node_modules", "__pycache__", *skipped}
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in left_out)
        yield from (Path(place) / name for name in sorted(files) if name.endswith(".py"))


def _samples(folder: Path | None) -> str:
    if folder is None:
        return ""
    files = [file for file in [folder / "manifest.json", *sorted(folder.glob("*/manifest.json"))] if file.is_file()]
    try:
        return _of_all(folder, files) if files else ""
    except OSError:
        return ""


def _of_all(folder: Path, files: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(folder)}\0{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()
