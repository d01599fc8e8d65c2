"""Real requests: what they look like, how they are stored, chosen and decoded."""

from typing import TYPE_CHECKING, Any

from kserve_warmup.samples.sample import Sample, Signature, TensorSpec

if TYPE_CHECKING:
    from kserve_warmup.samples.store import SampleSet

__all__ = ["Sample", "SampleSet", "Signature", "TensorSpec"]


def __getattr__(name: str) -> Any:
    """Import the set when it is used: its reader asks the codecs, which are made of what stands above."""
    if name != "SampleSet":
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from kserve_warmup.samples.store import SampleSet

    return SampleSet
