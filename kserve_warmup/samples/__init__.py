"""Real requests: what they look like, how they are stored, chosen and decoded."""

from kserve_warmup.samples.sample import Sample, Signature, TensorSpec
from kserve_warmup.samples.store import SampleSet

__all__ = ["Sample", "SampleSet", "Signature", "TensorSpec"]
