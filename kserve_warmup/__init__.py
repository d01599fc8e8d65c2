"""Warm KServe and Triton models with real requests until they are steady, and only then report ready."""

from kserve_warmup.errors import WarmupError
from kserve_warmup.model import WarmupModel
from kserve_warmup.report import WarmupReport
from kserve_warmup.samples import Sample, SampleSet
from kserve_warmup.settings import WarmupSettings
from kserve_warmup.steady import SteadyStateDetector

__all__ = [
    "Sample",
    "SampleSet",
    "SteadyStateDetector",
    "WarmupError",
    "WarmupModel",
    "WarmupReport",
    "WarmupSettings",
]
