"""The sample sets of a whole server: a folder with one set, or with one set per model name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kserve_warmup.errors import SampleError
from kserve_warmup.samples.store import MANIFEST, SampleSet


def open_sets(path: Path, model: str | None = None) -> tuple[SampleSet, ...]:
    """Return the sample sets in a folder, each with the name that its model has on the server.

    Args:
        path: a sample set, whose manifest names the model; or a folder of such sets, whose folders do.
        model: the model's name instead; of a folder of sets only this model's.

    Raises:
        SampleError: there is no sample set, it has no samples, or it cannot be used.
    """
    if (path / MANIFEST).is_file():
        samples = SampleSet.open(path)
        found = [replace(samples, model=model or samples.model)]
    else:
        folders = sorted(f.parent for f in path.glob(f"*/{MANIFEST}") if model in (None, f.parent.name))
        found = [replace(SampleSet.open(folder), model=folder.name) for folder in folders]
    if not found:
        where = path / model if model else path
        raise SampleError(f"{where} holds no sample set (no {MANIFEST}): make one with 'kserve-warmup sample'")
    if empty := [s.model for s in found if not len(s)]:
        raise SampleError(f"the sample set of {empty[0]} in {path} is empty: sample its traffic anew")
    return tuple(found)
