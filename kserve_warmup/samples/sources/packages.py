"""Packages that only some formats and places need."""

from __future__ import annotations

import importlib
from typing import Any

from kserve_warmup.errors import MissingPackageError


def optional(module: str, what: str) -> Any:
    """Import a package that only ``what`` needs.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise MissingPackageError(f"{what} need the package {package}: pip install 'kserve-warmup[traffic]'") from None
