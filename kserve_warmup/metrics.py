"""What Prometheus sees of a warm-up, in KServe's process and in the gate's: the same series."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from kserve_warmup.report import WarmupReport

_STRATUM = ("model_name", "protocol", "signature", "batch")

SECONDS = Gauge("kserve_warmup_seconds", "Time that the last warm-up took.", _STRATUM)
CALLS = Counter("kserve_warmup_calls", "Warm-up requests sent.", _STRATUM)
CONVERGED = Gauge("kserve_warmup_converged", "1 if the latency became steady.", _STRATUM)
FIRST = Gauge("kserve_warmup_first_latency_seconds", "Latency of the first warm-up request.", _STRATUM)
STEADY = Gauge("kserve_warmup_steady_latency_seconds", "Latency when the warm-up ended.", _STRATUM)
COVERAGE = Gauge("kserve_warmup_coverage_ratio", "Share of the recorded traffic that is warm.", ("model_name",))
UNSTEADY = Gauge("kserve_warmup_unsteady_ratio", "Share that was sent and is not steady.", ("model_name",))
REFUSED = Gauge("kserve_warmup_refused_ratio", "Share that is left out, since the model refuses it.", ("model_name",))
STEP = Gauge("kserve_warmup_step_seconds", "Time of each step from process start to ready.", ("model_name", "step"))
READY = Gauge("kserve_warmup_ready_seconds", "Time from process start to ready.", ("model_name",))

CACHE = Gauge(
    "kserve_warmup_cache_programs",
    "Programs from a compile cache (hit), compiled ones, and those of these that it had and that did not fit.",
    ("framework", "result"),
)
SAVED = Gauge("kserve_warmup_cache_saved_seconds", "Compile time that hits spared.", ("framework",))


def publish(report: WarmupReport) -> None:
    """Set the warm-up's series to what ``report`` says, and add its calls: once for each warm-up that has ended."""
    COVERAGE.labels(report.model).set(report.coverage)
    UNSTEADY.labels(report.model).set(report.unsteady)
    REFUSED.labels(report.model).set(report.refused_share)
    if report.ready_seconds is not None:
        READY.labels(report.model).set(report.ready_seconds)
    for name, seconds in report.step_seconds.items():
        STEP.labels(report.model, name).set(seconds)
    for one in report.cache:
        if one.told:
            for result in ("hit", "compiled", "rejected"):
                CACHE.labels(one.framework, result).set(getattr(one, result))
        if one.seconds_saved is not None:
            SAVED.labels(one.framework).set(one.seconds_saved)
    for stratum in report.strata:
        labels = (report.model, stratum.protocol, f"{stratum.signature} {stratum.variant}".rstrip(), str(stratum.batch))
        SECONDS.labels(*labels).set(stratum.seconds)
        CALLS.labels(*labels).inc(stratum.calls)
        CONVERGED.labels(*labels).set(stratum.converged)
        if stratum.first_ms is not None and stratum.steady_ms is not None:
            FIRST.labels(*labels).set(stratum.first_ms / 1000)
            STEADY.labels(*labels).set(stratum.steady_ms / 1000)
