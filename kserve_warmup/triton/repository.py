"""A whole model repository: which samples belong to which model, and writing what was planned."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from kserve_warmup.errors import TritonConfigError, WarmupError
from kserve_warmup.files import Access, write_own
from kserve_warmup.samples.store import MANIFEST, SampleSet
from kserve_warmup.triton import warmup_files as files
from kserve_warmup.triton.create import minimal_config
from kserve_warmup.triton.encode import file_name
from kserve_warmup.triton.model_calls import CallsOthersError
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.plan import ModelPlan, Options, plan_model, plan_removal
from kserve_warmup.triton.rules import is_ensemble

WRITERS = 16


@dataclass(frozen=True)
class RepositoryPlan:
    """What has to change in a repository; ``skipped`` says in a line each which models are left out, and why."""

    models: tuple[ModelPlan, ...]
    skipped: tuple[str, ...] = ()

    @property
    def changed(self) -> tuple[ModelPlan, ...]:
        """Return the models that are out of date."""
        return tuple(plan for plan in self.models if plan.changed)


def plan_repository(repository: Path, samples: Path, models: Sequence[str], options: Options) -> RepositoryPlan:
    """Work out the warm-up of every model of a repository; nothing is written.

    Args:
        repository: The model repository.
        samples: A sample set, or a folder of one set per model name.
        models: The models to warm; all that have samples when empty.
        options: The person's choices.

    Raises:
        TritonConfigError: A model cannot be warmed as asked.
        SampleError: A sample set cannot be used.
    """
    folders = model_folders(repository, models)
    sets = _sets(repository, samples, folders, named=bool(models))
    plans: list[ModelPlan] = []
    skipped: list[str] = []
    refused: list[CallsOthersError] = []
    for name, folder in folders.items():
        if not models and _is_ensemble(folder):
            skipped.append(f"{name}: skipped, an ensemble is warmed through its members")
        elif name not in sets:
            skipped.append(f"{name}: skipped, it has no samples")
        else:
            recorded = SampleSet.open(sets[name], check=False)
            create = options.create and not (folder / files.CONFIG).exists()
            base = minimal_config(name, folder, recorded, options.templates) if create else None
            try:
                plans.append(plan_model(name, folder, recorded, options, base))
            except CallsOthersError as error:
                if models:
                    raise
                refused.append(error)
    if refused and not plans:
        raise refused[0]
    skipped += [f"skipped, {error}" for error in refused]
    if not plans:
        raise TritonConfigError(f"no model of {repository} has samples in {samples}: {'; '.join(skipped[:3])}")
    return RepositoryPlan(tuple(plans), tuple(skipped))


def plan_without(
    repository: Path,
    samples: Path,
    models: Sequence[str],
    options: Options,
    without: Mapping[str, Mapping[str, str]],
) -> RepositoryPlan:
    """Work out the same as :func:`plan_repository` without some blocks, which ``without`` names for each model."""
    return plan_repository(repository, samples, models, replace(options, without=without))


def plan_repository_removal(repository: Path, models: Sequence[str]) -> RepositoryPlan:
    """Work out how to take the generated warm-up out of a repository; nothing is written."""
    return RepositoryPlan(tuple(plan_removal(n, f) for n, f in model_folders(repository, models).items()))


def model_folders(repository: Path, models: Sequence[str]) -> dict[str, Path]:
    """Return the folders of a repository's models by name, in order; the named ones, or all.

    Raises:
        TritonConfigError: The repository is none, a name is not one, or there is no such model.
    """
    if not repository.is_dir():
        raise TritonConfigError(f"{repository} is not a folder: name a Triton model repository")
    if (repository / files.CONFIG).exists():
        raise TritonConfigError(
            f"{repository} is a model: name the repository, its parent folder, and --model {repository.name}"
        )
    for name in models:
        if name in ("", ".", "..") or any(c in name for c in "/\\\0"):
            raise TritonConfigError(f"--model {name!r} is not the name of a folder in {repository}")
        if not (repository / name).is_dir():
            raise TritonConfigError(f"model {name}: there is no folder {repository / name}")
    found = models or [f.name for f in repository.iterdir() if f.is_dir() and not f.name.startswith(".")]
    return {name: repository / name for name in sorted(set(found))}


def _sets(repository: Path, samples: Path, folders: dict[str, Path], *, named: bool) -> dict[str, Path]:
    """Return each model's sample set: the one set there is, or the folders with the models' names."""
    if not samples.is_dir():
        raise TritonConfigError(f"--samples {samples} is not a folder: 'kserve-warmup sample' makes one")
    if not (samples / MANIFEST).exists():
        sets = {name: samples / name for name in folders if (samples / name / MANIFEST).exists()}
        lacking = sorted(folders.keys() - sets.keys()) if named else []
        if lacking:
            raise TritonConfigError(f"model {lacking[0]}: there is no sample set in {samples / lacking[0]}")
        return sets
    if named or len(folders) == 1:
        return dict.fromkeys(folders, samples)
    recorded = SampleSet.open(samples, check=False).model
    if recorded in folders:
        return {recorded: samples}
    raise TritonConfigError(
        f"{samples} was recorded on {recorded!r}, which is not in {repository}: say which with --model"
    )


def _is_ensemble(folder: Path) -> bool:
    text = files.config_text(folder)
    if text is None or b"ensemble" not in text:  # parsing takes milliseconds, and repositories have many models
        return False
    try:
        return is_ensemble(parse(text))
    except TritonConfigError as error:
        raise TritonConfigError(f"model {folder.name}: {error}") from None


def apply_all(plans: Sequence[ModelPlan]) -> None:
    """Write the warm-up of several models, a few at a time: most of it is waiting for the disk.

    Raises:
        TritonConfigError: See :func:`apply`; models that are not named by the error are written or as before.
    """
    with ThreadPoolExecutor(WRITERS) as pool:
        for _ in pool.map(apply, plans):
            pass


def apply(plan: ModelPlan) -> None:
    """Write one model's warm-up: data files first, then the configuration in one step, then old data files go.

    Which those are is looked up when they go. Where others may write too, hold the repository
    (:func:`kserve_warmup.triton.lock.locked`) from the planning on.

    Raises:
        TritonConfigError: The configuration was changed since it was planned, or a file cannot be written; the model
            loads as before.
    """
    if files.read_config(plan.folder) != plan.before:
        raise TritonConfigError(f"model {plan.name}: its {files.CONFIG} was changed in the meantime; run again")
    try:
        access = files.access_of(plan.folder)
        if plan.data:
            files.make_warmup(plan.folder, access)
            _write_data(plan, files.data_access(access))
            files.sync_folder(plan.folder / files.WARMUP)
        if plan.after != plan.before and plan.after:
            write_own(plan.folder / files.CONFIG, plan.after, access)
            files.sync_folder(plan.folder)
        files.delete(plan.folder, files.stale_files(plan.folder, plan.after))
    except OSError as error:
        with contextlib.suppress(OSError):  # what was written for a configuration that did not come
            files.delete(plan.folder, files.stale_files(plan.folder, files.config_text(plan.folder) or b""))
        raise TritonConfigError(
            f"model {plan.name}: cannot write {error.filename or plan.folder}: {error.strerror}"
        ) from None


def _write_data(plan: ModelPlan, access: Access) -> None:
    for name, make in plan.data.items():
        if files.is_whole(plan.folder, name):
            continue
        data = make()
        if file_name(data) != name:
            raise WarmupError(f"model {plan.name}: a sample changed while the generator ran; run it again")
        write_own(plan.folder / files.WARMUP / name, data, access)
