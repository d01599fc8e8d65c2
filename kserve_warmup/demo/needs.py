"""What the demo's models need on a machine, asked before anything runs."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from kserve_warmup.demo.recordings import TORCH_MODELS
from kserve_warmup.errors import WarmupError

PACKAGES = {
    "jinja2": "jinja2",
    "xxhash": "xxhash",
    "jax": "jax",
    "numba": "numba",
    "sklearn": "scikit-learn",
    "onnxruntime": "onnxruntime",
}
COMPILED = "digits_cnn"


def check_needs(models: Iterable[str]) -> None:
    """Find out whether everything that these models need is installed.

    Raises:
        WarmupError: a package, or what torch.compile needs, is missing.
    """
    models = set(models)
    if absent := [package for module, package in PACKAGES.items() if not importlib.util.find_spec(module)]:
        raise WarmupError(f"the demo's models need {', '.join(absent)}: pip install 'kserve-warmup[demo]'")
    if (torch := models & TORCH_MODELS.keys()) and not importlib.util.find_spec("torch"):
        raise WarmupError(
            f"{', '.join(sorted(torch))} needs torch: run `make torch-env`, or pip install 'kserve-warmup[torch]' "
            "with PyTorch's index of CPU wheels as --extra-index-url"
        )
    if COMPILED in models:
        check_compiler()


def has_torch(python: Path | None) -> bool:
    """Return whether torch is installed for a Python, None meaning the ``python3`` on PATH."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    return not subprocess.run([python or "python3", "-I", "-c", probe], check=False).returncode  # noqa: S603


def check_compiler() -> None:
    """Raise unless there is what torch.compile builds its C++ with, which it would say in a hundred lines."""
    compiler = os.environ.get("CXX", "g++")
    if not shutil.which(compiler):
        raise WarmupError(
            f"{COMPILED} is built by torch.compile, which finds no C++ compiler {compiler!r}: install g++"
        )
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        package = "python{}.{}-dev".format(*sys.version_info)
        raise WarmupError(f"{COMPILED} is built by torch.compile, which finds no Python.h: install {package}")
