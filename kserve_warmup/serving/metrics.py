"""What the serving process adds to the metrics."""

from __future__ import annotations

from prometheus_client import Counter

CAPTURED = Counter("kserve_warmup_captured", "Requests recorded for the next start.", ("model_name",))
CAPTURE_DROPPED = Counter("kserve_warmup_capture_dropped", "Requests not recorded.", ("model_name", "reason"))
CAPTURE_SCRUBBED = Counter(
    "kserve_warmup_capture_scrubbed", "Recorded requests that a scrub rule was applied to.", ("model_name", "rule")
)
DROP_REASONS = ("queue_full", "too_large", "refused", "disk")
