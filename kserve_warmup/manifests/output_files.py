"""Documents become files: plain YAML, a Kustomize folder, or values for a Helm chart. All is made, then written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.files import write_whole
from kserve_warmup.manifests.found_runtime import Found
from kserve_warmup.manifests.gate_container import GATE, gate_container
from kserve_warmup.manifests.kubernetes_objects import KubernetesObject, plain, reasons
from kserve_warmup.manifests.kubernetes_objects import Path as Place
from kserve_warmup.manifests.manifest_options import Wanted
from kserve_warmup.manifests.runtime_patch import Patch
from kserve_warmup.manifests.serving_runtime import Document, runtime, service
from kserve_warmup.manifests.yaml_text import written

HEAD = "Written by kserve-warmup manifests; kserve-warmup manifests --explain says of each field why."


class Layout(str, Enum):
    """What is written."""

    YAML = "yaml"
    KUSTOMIZE = "kustomize"
    HELM = "helm"


def file_name(document: Mapping[str, Any]) -> str:
    """Return the name of a document's file."""
    return f"{document['kind'].lower()}.yaml"


def texts(documents: tuple[Document, ...], layout: Layout) -> dict[str, str]:
    """Return the files of whole manifests, by name."""
    files = {}
    for document in documents:
        data = plain(document)
        files[file_name(data)] = written(data, reasons(document), HEAD)
    if layout is Layout.KUSTOMIZE:
        files["kustomization.yaml"] = written(_kustomization({"resources": list(files)}), (), HEAD)
    return files


def patch_texts(
    found: Found, patch: Patch, original: bytes, others: tuple[Document, ...], layout: Layout
) -> dict[str, str | bytes]:
    """Return the files of a patch: for ``kubectl patch``, or with the runtime as it came, for Kustomize."""
    scope = "" if found.kind.startswith("Cluster") else " --namespace NAMESPACE"
    apply = f"kubectl patch {found.kind.lower()} {found.name}{scope} --type=json --patch-file=patch.yaml"
    head = (HEAD, f"To apply: {apply}") if layout is Layout.YAML else (HEAD,)
    comments: dict[Place, str] = {(number,): why for number, (_, why) in patch.why.items() if why}
    files: dict[str, str | bytes] = {"patch.yaml": written(plain(patch.operations), comments, *head)}
    files |= texts(others, Layout.YAML)
    if layout is Layout.KUSTOMIZE:
        resources = ["runtime.yaml", *(name for name in files if name != "patch.yaml")]
        files["runtime.yaml"] = original
        group, _, version = str(found.document["apiVersion"]).rpartition("/")
        target = {"group": group, "version": version, "kind": found.kind, "name": found.name}
        patches = [{"path": "patch.yaml", "target": target}]
        files["kustomization.yaml"] = written(_kustomization({"resources": resources, "patches": patches}), (), HEAD)
    return files


def _kustomization(content: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"} | content


_OF_THE_CONTAINER = {
    "args": "args",
    "env": "env",
    "resources": "resources",
    "security_context": "securityContext",
    "startup_probe": "startupProbe",
    "readiness_probe": "readinessProbe",
    "liveness_probe": "livenessProbe",
    "lifecycle": "lifecycle",
    "ports": "ports",
}


def chart_texts(wanted: Wanted) -> dict[str, str]:
    """Return the files for a chart: its values, and the sample set for its templates."""
    samples = wanted.samples.config_map if wanted.samples else None
    return {"values.yaml": _values(wanted)} | (texts((samples,), Layout.YAML) if samples else {})


def _values(wanted: Wanted) -> str:
    """Return values for a chart of one's own, by the names that ``helm create`` gives them."""
    server = runtime(wanted).spec.containers[0]
    spec, predictor = runtime(wanted).spec, service(wanted).spec.predictor
    content: dict[str, Any] = {"replicaCount": wanted.min_replicas}
    comments: dict[Place, str] = {("replicaCount",): predictor.why["min_replicas"]}

    def put(key: str, value: Any, why: str = "") -> None:
        if value is None or value == ():
            return
        content[key] = plain(value)
        comments.update({(key, *place): told for place, told in reasons(value)})
        if why:
            comments[(key,)] = why

    if wanted.image:
        repository, tag = _image(wanted.image)
        content["image"] = {"repository": repository} | ({"tag": tag} if tag else {})
    for name, key in _OF_THE_CONTAINER.items():
        value = getattr(server, name)
        put(key, (*value, *predictor.model.env) if name == "env" else value)
    put("volumes", (*spec.volumes, *predictor.volumes))
    put("volumeMounts", (*server.volume_mounts, *predictor.model.volume_mounts))
    put("podAnnotations", dict(spec.annotations) or None)
    put(
        "terminationGracePeriodSeconds",
        predictor.termination_grace_period_seconds,
        predictor.why.get("termination_grace_period_seconds", ""),
    )
    if wanted.gate_image is not None:
        put("extraContainers", (gate_container(wanted),), f"{GATE} warms the server beside it")
    return written(content, comments, HEAD)


def _image(image: str) -> tuple[str, str]:
    """Return repository and tag; one named by its digest stays whole."""
    head, _, tail = image.rpartition(":")
    return (image, "") if "@" in image or not head or "/" in tail else (head, tail)


def explained(objects: tuple[KubernetesObject, ...], patch: Patch | None) -> list[str]:
    """Return for each field that has one the reason, a line each."""
    lines = []
    if patch:
        lines += [f"patch {place}: {why}" for place, why in patch.why.values() if why]
        lines += [f"left as it is: {kept}" for kept in patch.kept]
    for one in objects:
        kind = plain(one)["kind"]
        lines += [f"{kind} {'.'.join(map(str, place))}: {why}" for place, why in reasons(one)]
    return lines


def save(files: Mapping[str, str | bytes], folder: Path, *, force: bool) -> list[Path]:
    """Write all files, or none.

    Raises:
        WarmupError: one is there already and ``force`` is not, or one cannot be written; what was written goes again.
    """
    there = [folder / name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    if there and not force:
        raise WarmupError(
            f"{there[0]} is there already, and nothing was written: --force replaces it, or name another --out"
        )
    if links := [path for path in there if path.is_symlink() or not path.is_file()]:
        raise WarmupError(f"{links[0]} is no file of its own: remove it, or name another --out")
    done: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_whole(folder / name, text if isinstance(text, bytes) else text.encode())
            done.append(folder / name)
    except OSError as error:
        for path in done if not there else ():
            with suppress(OSError):
                path.unlink()
        raise WarmupError(f"cannot write {folder}: {error.strerror}") from None
    return done
