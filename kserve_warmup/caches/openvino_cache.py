"""OpenVINO: named, and left as it is: its ``CACHE_DIR`` is a property of a Core that only the model's code holds."""

from __future__ import annotations

from kserve_warmup.caches.untold import UntoldCache

OPENVINO = UntoldCache(
    "OpenVINO", "openvino", 'its cache is set in the model\'s code: core.set_property({"CACHE_DIR": ...})'
)
