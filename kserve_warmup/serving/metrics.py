"""What Prometheus sees: the warm-up in series of its own, and none of it in KServe's request histograms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kserve import metrics as kserve_metrics
from prometheus_client import Counter, Gauge

from kserve_warmup.report import WarmupReport

_STRATUM = ("model_name", "protocol", "signature", "batch")

SECONDS = Gauge("kserve_warmup_seconds", "Time that the last warm-up took.", _STRATUM)
CALLS = Counter("kserve_warmup_calls", "Warm-up requests sent.", _STRATUM)
CONVERGED = Gauge("kserve_warmup_converged", "1 if the latency became steady.", _STRATUM)
FIRST = Gauge("kserve_warmup_first_latency_seconds", "Latency of the first warm-up request.", _STRATUM)
STEADY = Gauge("kserve_warmup_steady_latency_seconds", "Latency when the warm-up ended.", _STRATUM)
COVERAGE = Gauge("kserve_warmup_coverage_ratio", "Share of the recorded traffic that was warmed.", ("model_name",))

CAPTURED = Counter("kserve_warmup_captured", "Requests recorded for the next start.", ("model_name",))
CAPTURE_DROPPED = Counter("kserve_warmup_capture_dropped", "Requests not recorded.", ("model_name", "reason"))
DROP_REASONS = ("queue_full", "too_large", "refused", "disk")

_REQUEST_HISTOGRAMS = (
    kserve_metrics.PRE_HIST_TIME,
    kserve_metrics.PREDICT_HIST_TIME,
    kserve_metrics.POST_HIST_TIME,
    kserve_metrics.EXPLAIN_HIST_TIME,
)


def publish(report: WarmupReport) -> None:
    """Set the warm-up's series to what ``report`` says."""
    COVERAGE.labels(report.model).set(report.coverage)
    for stratum in report.strata:
        labels = (report.model, stratum.protocol, stratum.signature, str(stratum.batch))
        SECONDS.labels(*labels).set(stratum.seconds)
        CALLS.labels(*labels).inc(stratum.calls)
        CONVERGED.labels(*labels).set(stratum.converged)
        if stratum.first_ms is not None and stratum.steady_ms is not None:
            FIRST.labels(*labels).set(stratum.first_ms / 1000)
            STEADY.labels(*labels).set(stratum.steady_ms / 1000)


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
