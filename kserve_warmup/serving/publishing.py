"""A warm model's report: to Prometheus, to a file and into the log."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import quote

from kserve_warmup import metrics
from kserve_warmup.errors import WarmupError
from kserve_warmup.files import write_whole
from kserve_warmup.report import WarmupReport
from kserve_warmup.serving.process import PROCESS, in_worker
from kserve_warmup.views.figures import caches, learned

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures


def publish(report: WarmupReport, file: Path | None) -> None:
    """Tell what a warm-up did; ``file`` gets the report too."""
    metrics.publish(report)
    if file is not None:
        _save(report, _file_of_its_own(file, report.model))
    log = logger.info if report.converged else logger.warning
    log("%s: %s", report.model, report.summary())
    for line in (*learned(report), *caches(report)):
        logger.info("%s: %s", report.model, line)


def _save(report: WarmupReport, file: Path) -> None:
    """Write the report; that a disk is full must not keep a warm model from serving."""
    try:
        write_whole(file, report.to_json().encode())
    except (OSError, WarmupError) as error:
        logger.error(  # noqa: TRY400 - one line tells all
            "%s: cannot write the warm-up report %s: %s: let KSERVE_WARMUP_REPORT name a file in a writable folder",
            report.model,
            file,
            getattr(error, "strerror", None) or error,
        )


def _file_of_its_own(file: Path, model: str) -> Path:
    """Return the file's name with the model's, if the process has several, and the worker's process id."""
    parts = [quote(model, safe="")] if len(PROCESS.models) > 1 else []
    parts += [str(os.getpid())] if in_worker() else []
    return file.with_stem("-".join([file.stem, *parts]))
