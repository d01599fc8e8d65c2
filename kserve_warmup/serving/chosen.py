"""What a model is warmed with: its sample set, what earlier processes recorded, or what its inputs let one make up."""

from __future__ import annotations

import logging
from pathlib import Path

from kserve import Model

from kserve_warmup.capture.capturing import recorded_samples, scrubber_of
from kserve_warmup.errors import SampleError
from kserve_warmup.samples import Sample, SampleSet
from kserve_warmup.sampling.synthesise import synthesise
from kserve_warmup.settings import WarmupSettings

logger = logging.getLogger("kserve.warmup")  # a child of the logger that KServe configures

DEFAULT_SAMPLES = Path("/mnt/models/warmup")
"""Beside the artifact that KServe's storage initialiser has fetched."""


def chosen_samples(model: Model, settings: WarmupSettings) -> tuple[tuple[Sample, ...], bool]:
    """Return the samples, and whether they are unreviewed: recorded or made up, and chosen by nobody.

    Raises:
        SampleError: the sample set cannot be used, or is missing and the settings ask to fail then; or the rules that
            scrub recorded requests cannot be used.
    """
    scrubber_of(settings)  # rules that cannot be used show before anything is served
    if not settings.enabled:
        return (), True
    folder = find_samples(settings.samples, model.name)
    if folder is not None:
        logger.info("%s: reading the sample set %s", model.name, folder)
        return tuple(SampleSet.open(folder)), False
    if recorded := recorded_samples(settings, model.name):
        return recorded, True
    if samples := synthesise(model):
        logger.warning(
            "%s: no sample set, so %d requests were made up from get_input_types(). They warm the shapes declared "
            "there and nothing else: record real ones with 'kserve-warmup sample' and set KSERVE_WARMUP_SAMPLES",
            model.name,
            len(samples),
        )
        return samples, True
    message = (
        f"{model.name}: no sample set and no get_input_types(), so nothing can be warmed: record requests "
        "with 'kserve-warmup sample' and set KSERVE_WARMUP_SAMPLES"
    )
    if settings.on_missing_samples == "fail":
        raise SampleError(message)
    if settings.on_missing_samples == "warn":
        logger.warning("%s; it is served COLD", message)
    return (), True


def find_samples(configured: Path | None, model: str) -> Path | None:
    """Return the folder of ``model``'s sample set, None when none is configured and none lies beside the artifact.

    Raises:
        SampleError: a folder is configured and holds no sample set.
    """
    root = configured or DEFAULT_SAMPLES
    for folder in (root / model, root):
        if (folder / "manifest.json").is_file():
            return folder
    if configured is None:
        return None
    raise SampleError(
        f"{configured} holds no sample set (no manifest.json there or in {model}/): "
        "make one with 'kserve-warmup sample', or unset KSERVE_WARMUP_SAMPLES"
    )
