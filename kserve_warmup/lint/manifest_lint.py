"""The rules of manifests, and what they find in a file of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kserve_warmup.lint import readiness_probe, scale_to_zero, side_container, startup_time, workers
from kserve_warmup.lint.findings import Finding, Knowledge, Rule, UnreadableError
from kserve_warmup.lint.serving_objects import GROUP, Container, ServingObject, serving_objects
from kserve_warmup.lint.yaml_nodes import Place, documents

OF_CONTAINERS: tuple[Rule[Container], ...] = (
    readiness_probe.MISSING,
    readiness_probe.TCP,
    readiness_probe.SERVER_WIDE,
    readiness_probe.UNSEEN,
    startup_time.BUDGET,
    startup_time.LIVENESS,
    startup_time.PROGRESS,
    workers.RULE,
)
OF_OBJECTS: tuple[Rule[ServingObject], ...] = (scale_to_zero.RULE, side_container.RULE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file of manifests: KServe's objects in it, and why the rest of it could not be read, if so."""

    path: str
    text: str
    objects: tuple[ServingObject, ...] = ()
    unreadable: str = ""


def read_manifest(path: str, text: str) -> Manifest | None:
    """Return KServe's objects in a text; None where it has nothing to do with KServe."""
    if GROUP not in text:
        return None
    read: list[Place] = []
    why = ""
    try:
        read.extend(documents(text))
    except UnreadableError as error:
        why = str(error)
    # extend keeps what came before the error
    return Manifest(path, text, tuple(serving_objects(read)), why)


def lint_manifests(manifests: Sequence[Manifest], known: Knowledge) -> Iterator[Finding]:
    """Yield what the rules find; runtimes count for the services of all files."""
    runtimes = tuple(o for m in manifests for o in m.objects if o.is_runtime)
    for manifest in manifests:
        for plain in manifest.objects:
            one = replace(plain, others=runtimes)
            for container in one.containers():
                for rule in OF_CONTAINERS:
                    yield from rule.findings(manifest.path, container, known)
            for of_object in OF_OBJECTS:
                yield from of_object.findings(manifest.path, one, known)
