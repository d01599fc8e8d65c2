"""ONNX Runtime: named, and left as it is.

It has no variable for a cache. ``SessionOptions.optimized_model_filepath`` only writes a model, which the model's own
code would have to load instead of the first; above the basic level it holds optimisations of one processor that are
not valid on another. Patching ``InferenceSession`` to do so could change results, so nothing is patched.
"""

from __future__ import annotations

from kserve_warmup.caches.untold import UntoldCache

ONNXRUNTIME = UntoldCache(
    "ONNX Runtime",
    "onnxruntime",
    "optimises each model as it loads; only its own code can save that (SessionOptions.optimized_model_filepath)",
)
