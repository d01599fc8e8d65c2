"""Sample sets on disk: a folder with a manifest and the request bodies, written at once and checked when opened."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from kserve_warmup.errors import SampleError
from kserve_warmup.files import write_own
from kserve_warmup.protocols.codec import codec_of
from kserve_warmup.samples.body_files import BodyFile, read_inside
from kserve_warmup.samples.manifest import (
    BODY_NAME,
    MOST_BYTES,
    Entry,
    Manifest,
    exact_share,
    first_problem,
)
from kserve_warmup.samples.sample import Sample, StoredBody
from kserve_warmup.samples.strata import without_model

MANIFEST = "manifest.json"
BODIES = "bodies"


def _now() -> str:
    """Return the time, or what SOURCE_DATE_EPOCH says, with which equal traffic gives equal files."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(given), timezone.utc) if given.isdigit() else datetime.now(timezone.utc)
    return now.isoformat(timespec="seconds")


@dataclass(frozen=True)
class SampleSet:
    """Requests that stand for a model's traffic.

    Attributes:
        model: name of the model that the traffic was recorded on.
        samples: in descending weight; equal requests are one sample with the sum of their weights.
        source: where the traffic came from, for people.
        coverage: share (0 to 1) of the traffic whose stratum has a sample.
        selection: how the samples were chosen, JSON-compatible.
        created: when, as ISO 8601 in UTC.
        digest: of the manifest that the set was opened from, which holds the bodies' own digests; else empty.
    """

    model: str
    samples: tuple[Sample, ...]
    source: str = ""
    coverage: float = 1.0
    selection: dict[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=_now)
    digest: bytes = field(default=b"", repr=False, compare=False)

    def __post_init__(self) -> None:
        """Bring the samples into their order, equal ones together."""
        merged: dict[str, Sample] = {}
        for sample in self.samples:
            earlier = merged.get(sample.id)
            merged[sample.id] = sample if earlier is None else sample.with_weight(earlier.weight + sample.weight)
        ordered = sorted(merged.items(), key=lambda item: (-item[1].weight, item[0]))
        object.__setattr__(self, "samples", without_model(sample for _, sample in ordered))

    def __iter__(self) -> Iterator[Sample]:
        """Iterate the samples in descending weight."""
        return iter(self.samples)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    @classmethod
    def open(cls, path: str | Path, *, check: bool = True) -> SampleSet:
        """Return the sample set in a folder; a mounted ConfigMap will do, with the body files beside the manifest.

        No body is held: each is read, and compared with its recorded hash, when it is used.

        Args:
            path: the folder.
            check: look at all bodies now; otherwise each is looked at when it is used.

        Raises:
            SampleError: the folder is no sample set, or one that is incomplete, was changed, or points outside itself.
        """
        folder = Path(path)
        text = read_inside(folder, MANIFEST, most=MOST_BYTES)
        manifest = Manifest.parse(text, str(folder / MANIFEST))
        try:
            samples = tuple(_opened(folder, manifest, check=check))
        except SampleError as error:
            raise SampleError(f"{folder / MANIFEST}: {error}") from None
        if len({s.id for s in samples}) != len(samples):
            raise SampleError(f"{folder / MANIFEST}: the same sample stands in it twice; remove one")
        digest = hashlib.blake2b(text, digest_size=16).digest()
        selection = dict(manifest.selection)
        return cls(manifest.model, samples, manifest.source, manifest.coverage, selection, manifest.created, digest)

    def save(self, path: str | Path) -> Path:
        """Write the set to a folder and return it; a set that is already there is replaced.

        At any moment the folder holds the whole old set or the whole new one. A new folder appears by one rename. In an
        existing one the new bodies, whose names depend on their content, come first, then the manifest in one rename,
        and last the old bodies go.

        Raises:
            SampleError: a sample cannot be stored, the folder holds something else, or it cannot be written.
        """
        folder = Path(path)
        manifest = self._manifest()  # what is wrong with the set shows before anything is written
        check_target(folder)
        try:
            if folder.is_dir() and any(folder.iterdir()):
                self._replace(folder.resolve(), manifest)
            else:
                self._create(folder.resolve(), manifest)
        except OSError as error:
            raise SampleError(f"cannot write the sample set {folder}: {error.strerror or error}") from error
        return folder

    def _manifest(self) -> Manifest:
        try:
            bodies = (f"{BODIES}/{sample.id}{codec_of(sample.protocol).suffix}" for sample in self.samples)
            entries = tuple(map(Entry.of, self.samples, bodies))
            return Manifest(
                model=self.model,
                source=self.source,
                created=self.created,
                selection=self.selection,
                coverage=exact_share(self.coverage),
                samples=entries,
            )
        except ValidationError as error:
            raise SampleError(f"the sample set cannot be stored: {first_problem(error)}") from None

    def _create(self, folder: Path, manifest: Manifest) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = folder.parent / f".{folder.name}.{secrets.token_hex(4)}.tmp"
        try:
            temporary.mkdir()
            self._write(temporary, manifest)
            temporary.rename(folder)  # onto nothing or an empty folder
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _replace(self, folder: Path, manifest: Manifest) -> None:
        bodies = folder / BODIES
        if bodies.is_symlink() or (bodies.exists() and not bodies.is_dir()):
            raise SampleError(f"{bodies} is not a folder: remove it")
        self._write(folder, manifest)
        current = {PurePosixPath(entry.body).name for entry in manifest.samples}
        for file in bodies.iterdir():
            if BODY_NAME.fullmatch(file.name) and file.name not in current:
                file.unlink()

    def _write(self, folder: Path, manifest: Manifest) -> None:
        (folder / BODIES).mkdir(exist_ok=True)
        for entry, sample in zip(manifest.samples, self.samples, strict=True):
            write_own(folder / entry.body, sample.body)
        write_own(folder / MANIFEST, manifest.text().encode())


def check_target(path: str | Path) -> None:
    """Refuse a folder that :meth:`SampleSet.save` would refuse; nothing is written.

    Raises:
        SampleError: there is something else than a folder, or a folder that holds something else than a sample set.
    """
    folder = Path(path)
    try:
        if folder.is_symlink():
            raise SampleError(f"{folder} is a link: name the folder that it leads to, or another one")
        if folder.exists() and not folder.is_dir():
            raise SampleError(f"{folder} is a file and no folder: choose another name for the sample set's folder")
        if folder.exists() and any(folder.iterdir()) and not _holds_set(folder / MANIFEST):
            raise SampleError(f"{folder} is not empty and holds no sample set: choose another folder or empty it")
    except OSError as error:
        raise SampleError(f"cannot use {folder}: {error.strerror or error}") from None


def _holds_set(manifest: Path) -> bool:
    """Return whether a file is a manifest, of any version: one that is none must not be written over."""
    if manifest.is_symlink() or not manifest.is_file():
        return False
    try:
        found = json.loads(read_inside(manifest.parent, manifest.name, most=MOST_BYTES))
    except (SampleError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"schema", "model", "selection", "samples"} <= found.keys()


def _opened(folder: Path, manifest: Manifest, *, check: bool) -> list[Sample]:
    """Return a manifest's samples, with bodies that are read when they are used."""
    files: dict[tuple[str, str, int], BodyFile] = {}
    samples = []
    for entry in manifest.samples:
        key = (entry.body, entry.sha256, entry.size)
        file = files.setdefault(key, BodyFile(folder, entry))
        file.sharing.append(entry)
        samples.append(entry.sample(StoredBody(entry.id, entry.size, file.read)))
    if check:
        manifest.check_sizes()
        for file in files.values():
            file.check()
    return samples
