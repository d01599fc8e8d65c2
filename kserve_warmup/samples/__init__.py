"""Real requests: what they look like, how they are stored, chosen and decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kserve_warmup.samples.sample import Sample, Signature, TensorSpec

if TYPE_CHECKING:
    from kserve_warmup.samples.store import SampleSet

__all__ = ["Sample", "SampleSet", "Signature", "TensorSpec"]


def __getattr__(name: str) -> Any:
    """Import what reads sets when it is asked for: a gate, which is small, has none to read."""
    if name != "SampleSet":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kserve_warmup.samples.store import SampleSet

    return SampleSet
