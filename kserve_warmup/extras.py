"""Packages that the base installation goes without, and the extras that bring them."""

from __future__ import annotations

import importlib
from typing import Any

from kserve_warmup.errors import MissingPackageError


def optional(module: str, what: str, extra: str = "sample") -> Any:
    """Import a package that is not always there; ``what`` says who needs it, such as ``Parquet files need``.

    Raises:
        MissingPackageError: it is not installed, or does not go with what is; names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0].replace("_", "-")
        reason = "" if isinstance(error, ModuleNotFoundError) else f" ({error})"
        raise MissingPackageError(f"{what} {package}{reason}: pip install 'kserve-warmup[{extra}]'") from None
