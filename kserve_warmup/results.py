"""What this package saves as JSON, told apart by content: a warm-up's report, results of verify, bake and the demo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

from kserve_warmup.caches.bake_result import BakeResult
from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.errors import WarmupError
from kserve_warmup.report import WarmupReport
from kserve_warmup.saved import parsed
from kserve_warmup.verify.verify_result import Verification

Result: TypeAlias = WarmupReport | Verification | DemoResult | BakeResult

KINDS: dict[str, type[WarmupReport | Verification | DemoResult | BakeResult]] = {
    "strata": WarmupReport,
    "rows": Verification,
    "cells": DemoResult,
    "out": BakeResult,
}
"""The key that only results of a kind have."""


def read_results(path: Path) -> list[Result]:
    """Read a file of one result, or of a list of them, as a gate's ``/report`` is.

    Raises:
        WarmupError: It cannot be read, or holds something else; names the file.
    """
    try:
        data = parsed(path.read_bytes())
        return [_result(item) for item in (data if isinstance(data, list) and data else [data])]
    except OSError as error:
        raise WarmupError(f"cannot read {path}: {error.strerror}") from None
    except WarmupError as error:
        raise WarmupError(f"{path}: {error}") from None


def _result(data: Any) -> Result:
    for key, kind in KINDS.items():
        if isinstance(data, dict) and key in data:
            return kind.from_dict(data)
    msg = "not a warm-up report (KSERVE_WARMUP_REPORT names its file), nor what verify, bake or the demo writes as JSON"
    raise WarmupError(msg)
