"""Where a sample set, recordings and a profile lie in a cluster: the volume, its mount, and what goes with them."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from kserve_warmup.errors import WarmupError
from kserve_warmup.manifests.kserve_objects import StorageUri
from kserve_warmup.manifests.kubernetes_objects import (
    ClaimSource,
    ConfigMap,
    ConfigMapSource,
    EmptyDir,
    Metadata,
    Mount,
    Volume,
)
from kserve_warmup.profile_file import PROFILE_FILE
from kserve_warmup.samples.body_files import read_inside
from kserve_warmup.samples.manifest import MOST_BYTES, Manifest
from kserve_warmup.samples.sets import open_sets
from kserve_warmup.samples.store import MANIFEST, SampleSet
from kserve_warmup.transports.endpoints import ready_path

CONFIG_MAP_BYTES = 1 << 20
"""1 MiB: of a ConfigMap's values together (Kubernetes' MaxSecretSize, which holds for both)."""

APPLY_BYTES = 256 << 10
"""256 KiB: of all annotations; ``kubectl apply`` keeps what it applied in one, but for ``--server-side``."""

MOST_HELD = 64 << 20
"""Bytes of a set at which nothing more is read to tell that it does not fit."""

SAMPLES, CAPTURE, PROFILES = "warmup-samples", "warmup-capture", "warmup-profile"
SAMPLES_PATH, CAPTURE_PATH, PROFILE_PATH = "/mnt/warmup/samples", "/mnt/warmup/captured", "/mnt/warmup/profile"
IN_ARTIFACT = "/mnt/models/warmup"
"""Where a WarmupModel looks by itself."""

DNS_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://\S+")
_TEXT = re.compile(r"[\t\n\x20-\x7e\u00a0-\ud7ff\ue000-\ufefe\uff00-\ufffd]*")
"""What YAML shows as it is; anything else is kept as bytes."""


@dataclass(frozen=True, slots=True)
class Place:
    """One of the folders: where the server finds it, and what brings it there; ``told`` says so for people.

    Attributes:
        path: Inside the container; None: where the server looks without being told.
        volume: Of the pod.
        mount: Of the container.
        uri: What KServe downloads.
        config_map: An object to be created beside.
        told: Where it comes from, in words.
        ready_path: Where a server of such samples says that the model is ready; None: they are not here.
    """

    path: str | None
    told: str
    volume: Volume | None = None
    mount: Mount | None = None
    uri: StorageUri | None = None
    config_map: ConfigMap | None = None
    ready_path: str | None = None


def sample_place(folder: Path | None, where: str | None, model: str, name: str, namespace: str | None) -> Place | None:
    """Return how a pod comes by its sample set; the set, if it is here, is opened and checked.

    Args:
        folder: the set on this machine, None: there is none.
        where: ``configmap``, ``artifact``, ``image:PATH``, ``pvc://CLAIM[/PATH]`` or a URI; None: a ConfigMap.
        model: the model's name on the server, which chooses among several sets.
        name: that of the InferenceService, and so of the ConfigMap.
        namespace: of the ConfigMap.

    Raises:
        WarmupError: the set cannot be used, does not fit in, or nobody can say where it is.
    """
    found = None if folder is None else open_sets(folder, model)[0]
    place = _placed(folder, found, where, name, namespace)
    return replace(place, ready_path=ready_path(found, model)) if place and found else place


def _placed(
    folder: Path | None, found: SampleSet | None, where: str | None, name: str, namespace: str | None
) -> Place | None:
    if where is None and found is None:
        return None
    if where in (None, "configmap"):
        if folder is None or found is None:
            raise WarmupError("--samples-in configmap: name the set with --samples DIR")
        return _in_config_map(folder, found, name, namespace)
    assert where is not None
    if where == "artifact":
        return Place(None, f"in the model's artifact: {IN_ARTIFACT}")
    if where.startswith("image:"):
        return Place(_absolute(where.removeprefix("image:"), "--samples-in"), "in the image")
    if where.startswith("pvc://"):
        return claimed(where, "--samples-in", SAMPLES, SAMPLES_PATH, read_only=True)
    if _URI.fullmatch(where):
        return Place(None, f"KServe downloads it beside the model: {where}", uri=StorageUri(where, IN_ARTIFACT))
    msg = f"--samples-in {where!r}: it is configmap, artifact, image:/PATH, pvc://CLAIM/PATH or a URI such as s3://…"
    raise WarmupError(msg)


def claimed(where: str, option: str, volume: str, path: str, *, read_only: bool) -> Place:
    """Return a place on a PersistentVolumeClaim: ``pvc://CLAIM`` or ``pvc://CLAIM/PATH``.

    Raises:
        WarmupError: it is named in another way.
    """
    claim, _, inside = where.removeprefix("pvc://").partition("/")
    inside = inside.strip("/")
    if not where.startswith("pvc://") or not DNS_NAME.fullmatch(claim) or ".." in PurePosixPath(inside).parts:
        raise WarmupError(f"{option} {where!r}: write pvc://CLAIM or pvc://CLAIM/PATH")
    source = ClaimSource(claim, read_only=read_only or None)
    mount = Mount(volume, path, sub_path=inside or None, read_only=read_only or None)
    return Place(path, f"the claim {claim}", Volume(volume, persistent_volume_claim=source), mount)


def writable(where: str | None, option: str, volume: str, path: str) -> Place | None:
    """Return a place that the server writes to: ``emptydir``, or a claim as :func:`claimed` has it; None: none.

    Raises:
        WarmupError: it is something else.
    """
    if where is None:
        return None
    if where == "emptydir":
        return Place(path, "it goes with the pod", Volume(volume, empty_dir=EmptyDir()), Mount(volume, path))
    return claimed(where, f"{option} (or emptydir)", volume, path, read_only=False)


def _absolute(path: str, option: str) -> str:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise WarmupError(f"{option} image:{path}: give an absolute path, such as image:/app/warmup")
    return str(pure)


def _in_config_map(folder: Path, samples: SampleSet, name: str, namespace: str | None) -> Place:
    """Return the set in a ConfigMap, whose name tells its content: a new set is a new name, so pods are replaced."""
    files = _files(folder if (folder / MANIFEST).is_file() else folder / samples.model, samples)
    size = sum(map(len, files.values()))
    if size > CONFIG_MAP_BYTES:
        msg = (
            f"{folder}: its {len(files)} files have {size:,} bytes and a ConfigMap takes {CONFIG_MAP_BYTES:,}: give "
            "--samples-in artifact, image:PATH, pvc://CLAIM/PATH or a URI, or sample fewer or smaller requests"
        )
        raise WarmupError(msg)
    digest = hashlib.sha256(b"".join(hashlib.sha256(f"{n}\0".encode() + files[n]).digest() for n in sorted(files)))
    text = {n: decoded for n, data in files.items() if (decoded := _text(data)) is not None}
    other = {n: base64.b64encode(data).decode() for n, data in files.items() if n not in text}
    own = f"{name}-samples-{digest.hexdigest()[:10]}"
    large = "; apply it with --server-side, since kubectl's annotation is too small" if size > APPLY_BYTES * 0.9 else ""
    told = (
        f"{len(samples)} samples of {samples.model}, {size:,} bytes: in a ConfigMap whose name tells the content{large}"
    )
    config_map = ConfigMap(Metadata(own, namespace, why={"name": told}), text, other)
    volume = Volume(SAMPLES, config_map=ConfigMapSource(own))
    return Place(SAMPLES_PATH, told, volume, Mount(SAMPLES, SAMPLES_PATH, read_only=True), config_map=config_map)


def _files(folder: Path, samples: SampleSet) -> dict[str, bytes]:
    """Return a set's files by name; a ConfigMap has no folders, and bodies beside the manifest are found as well."""
    text = read_inside(folder, MANIFEST, most=MOST_BYTES)
    found = {MANIFEST: text}
    bodies = {sample.id: sample for sample in samples}
    for entry in Manifest.parse(text, str(folder / MANIFEST)).samples:
        found[PurePosixPath(entry.body).name] = bodies[entry.id].body
        if sum(map(len, found.values())) > MOST_HELD:
            break  # too much for any ConfigMap; how much more does not matter
    if (folder / PROFILE_FILE).is_file():
        found[PROFILE_FILE] = read_inside(folder, PROFILE_FILE, most=MOST_BYTES)
    return found


def _text(data: bytes) -> str | None:
    """Return what a person can read in YAML, None for anything else."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if _TEXT.fullmatch(text) else None
