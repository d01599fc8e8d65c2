"""What the serving process adds to the metrics, and the warm-up kept out of KServe's request histograms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kserve import metrics as kserve_metrics
from prometheus_client import Counter

CAPTURED = Counter("kserve_warmup_captured", "Requests recorded for the next start.", ("model_name",))
CAPTURE_DROPPED = Counter("kserve_warmup_capture_dropped", "Requests not recorded.", ("model_name", "reason"))
CAPTURE_SCRUBBED = Counter(
    "kserve_warmup_capture_scrubbed", "Recorded requests that a scrub rule was applied to.", ("model_name", "rule")
)
DROP_REASONS = ("queue_full", "too_large", "refused", "disk")

_REQUEST_HISTOGRAMS = (
    kserve_metrics.PRE_HIST_TIME,
    kserve_metrics.PREDICT_HIST_TIME,
    kserve_metrics.POST_HIST_TIME,
    kserve_metrics.EXPLAIN_HIST_TIME,
)


@contextmanager
def request_histograms_untouched(model: str) -> Iterator[None]:
    """Take what ``Model.__call__`` counts in this block out of KServe's histograms again.

    The model's own series are set aside and put back: after a reload they still hold the real requests. Only a model
    that answers nobody else may be warmed in here. prometheus_client has no public way to do that, so this touches
    the registry of a histogram's children; a test fails should that change.
    """
    aside = [(histogram, histogram._metrics.pop((model,), None)) for histogram in _REQUEST_HISTOGRAMS]  # noqa: SLF001
    try:
        yield
    finally:
        for histogram, child in aside:
            histogram._metrics.pop((model,), None)  # noqa: SLF001
            if child is not None:
                histogram._metrics[(model,)] = child  # noqa: SLF001
