"""The moment at which a warm model is handed over to the watch."""

from __future__ import annotations

from collections.abc import Iterable

from kserve_warmup.monitor.warmed_strata import WarmedStrata
from kserve_warmup.monitor.watch import WATCH
from kserve_warmup.report import WarmupReport
from kserve_warmup.samples import Sample
from kserve_warmup.settings import WarmupSettings


def watch_after_ready(model: str, settings: WarmupSettings, samples: Iterable[Sample], report: WarmupReport) -> None:
    """Watch a model that is about to say that it is ready, if the settings do not say otherwise."""
    if settings.monitor:
        warmed = {stratum.key for stratum in report.strata if stratum.warmed}
        WATCH.begin(model, WarmedStrata(s.stratum for s in samples if s.stratum.key in warmed))
