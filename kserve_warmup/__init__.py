"""Warm KServe and Triton models with real requests until they are steady, and only then report ready."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kserve_warmup.printable import guard_loggers

if TYPE_CHECKING:
    from kserve_warmup.errors import WarmupError
    from kserve_warmup.model import WarmupModel
    from kserve_warmup.openai_model import WarmupOpenAIModel
    from kserve_warmup.profile import Profile
    from kserve_warmup.report import WarmupReport
    from kserve_warmup.samples import Sample, SampleSet
    from kserve_warmup.serving.context import is_warmup
    from kserve_warmup.settings import WarmupSettings
    from kserve_warmup.steady import SteadyStateDetector
    from kserve_warmup.steady_judge import SteadyStateJudge

__all__ = [
    "Profile",
    "Sample",
    "SampleSet",
    "SteadyStateDetector",
    "SteadyStateJudge",
    "WarmupError",
    "WarmupModel",
    "WarmupOpenAIModel",
    "WarmupReport",
    "WarmupSettings",
    "is_warmup",
]

guard_loggers()

_MODULES = {
    "Profile": "profile",
    "Sample": "samples",
    "SampleSet": "samples",
    "SteadyStateDetector": "steady",
    "SteadyStateJudge": "steady_judge",
    "WarmupError": "errors",
    "WarmupModel": "model",
    "WarmupOpenAIModel": "openai_model",
    "WarmupReport": "report",
    "WarmupSettings": "settings",
    "is_warmup": "serving.context",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    ``WarmupModel`` needs kserve, whose import takes a second that the command line need not wait for.
    """
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
