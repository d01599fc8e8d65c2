"""KServe's objects in a manifest, as the rules look at them: objects, and the containers that serve."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kserve_warmup.lint.server_types import FRAMEWORKS, ServerType, server_type
from kserve_warmup.lint.yaml_nodes import Place

GROUP = "serving.kserve.io/"
SERVER = "kserve-container"
TRANSFORMER = "transformer-container"
RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
SERVICE = "InferenceService"
COMPONENTS = ("predictor", "transformer", "explainer")

MOST_LISTS = 4
"""How deep lists in lists are looked into; an anchor may hold itself."""

_MODES = {"Serverless": True, "Knative": True, "RawDeployment": False, "Standard": False}


@dataclass(frozen=True, slots=True)
class Container:
    """A container that takes requests.

    ``place`` is its mapping, and ``base`` that of the runtime from which it takes what it does not say. ``resolved`` is
    false where that runtime is not among the files. ``gated`` says that a gate beside it holds the pod's readiness: a
    pod is ready once all of its containers are.
    """

    place: Place
    owner: ServingObject
    component: str
    kind: ServerType
    resolved: bool = True
    runtime: str = ""
    model_format: str = ""
    base: Place = Place()  # noqa: RUF009  (frozen)
    gated: bool = False

    def probe(self, name: str) -> Place:
        """Return a probe: its own, or the runtime's."""
        return self.place[name] or self.base[name]

    @property
    def words(self) -> list[str]:
        """Return its command and arguments."""
        return [*self.place["command"].texts, *self.place["args"].texts]

    @property
    def image(self) -> str:
        """Return its image."""
        return self.place["image"].text

    @property
    def warms_up(self) -> bool:
        """Return whether it says that kserve-warmup is in it."""
        named = any(e["name"].text.startswith("KSERVE_WARMUP_") for e in self.place["env"])
        return named or any("kserve-warmup" in w or "kserve_warmup" in w for w in self.words)

    @property
    def port(self) -> int:
        """Return the port that KServe's own probe asks: the first, or 8080."""
        first = next(iter(self.place["ports"]), Place())
        return first["containerPort"].number(8080)


@dataclass(frozen=True, slots=True)
class ServingObject:
    """A ServingRuntime, ClusterServingRuntime or InferenceService."""

    place: Place
    kind: str
    others: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """Return its name."""
        return self.place["metadata"]["name"].text

    @property
    def is_runtime(self) -> bool:
        """Return whether platform teams own it."""
        return self.kind in RUNTIMES

    @property
    def knative(self) -> bool | None:
        """Return whether it runs on Knative; None where the cluster decides."""
        return _MODES.get(self.annotation("serving.kserve.io/deploymentMode").text)

    def annotation(self, name: str, component: str = "") -> Place:
        """Return an annotation of the object, or of one of its components, which counts before it."""
        places = [self.place["spec"][component]["annotations"]] if component else []
        if self.is_runtime:
            places.append(self.place["spec"]["annotations"])
        places.append(self.place["metadata"]["annotations"])
        return next((found for place in places if (found := place[name])), Place())

    @property
    def components(self) -> list[str]:
        """Return the names of the components that it has."""
        return [] if self.is_runtime else [name for name in COMPONENTS if self.place["spec"][name]]

    def pods(self) -> Iterator[tuple[str, Place]]:
        """Yield the mappings that hold ``containers``, with the component's name."""
        if self.is_runtime:
            yield "", self.place["spec"]
        for name in self.components:
            yield name, self.place["spec"][name]

    @property
    def shared(self) -> bool:
        """Return whether its models share pods that ModelMesh runs, which none of this holds for."""
        mesh = self.annotation("serving.kserve.io/deploymentMode").text == "ModelMesh"
        if not self.is_runtime:
            return mesh
        # a service's only container is given KServe's name (predictor_custom.go, Default), a runtime's is not
        spec = self.place["spec"]
        return mesh or spec["multiModel"].text == "true" or all(c["name"].text != SERVER for c in spec["containers"])

    def containers(self) -> Iterator[Container]:
        """Yield the containers that take requests; side containers are none."""
        if self.shared:
            return
        for component, pod in self.pods():
            for place in serving_containers(pod, knative=self.knative is not False):
                words = [*place["command"].texts, *place["args"].texts]
                kind = server_type(place["image"].text, words)
                yield Container(place, self, component, kind, gated=gated(pod))
        if not self.is_runtime:
            yield from self._models()

    def _models(self) -> Iterator[Container]:
        """Yield the models of a predictor, whose container a runtime gives."""
        predictor = self.place["spec"]["predictor"]
        for name in ("model", *FRAMEWORKS):
            place = predictor[name]
            if not place:
                continue
            model_format = place["modelFormat"]["name"].text if name == "model" else name
            runtime = place["runtime"].text
            found = self._runtime(runtime, model_format)
            base = next(found.containers(), None) if found else None
            kind = base.kind if base else FRAMEWORKS.get(model_format, ServerType.UNKNOWN)
            held = gated(predictor) or (found is not None and gated(found.place["spec"]))
            inherited = base.place if base else Place()
            yield Container(place, self, "predictor", kind, found is not None, runtime, model_format, inherited, held)

    def _runtime(self, name: str, model_format: str) -> ServingObject | None:
        for other in self.others:
            if not other.is_runtime:
                continue
            if other.name == name if name else model_format in _auto_selected(other):
                return other  # type: ignore[no-any-return]
        return None


def _auto_selected(runtime: ServingObject) -> list[str]:
    formats = runtime.place["spec"]["supportedModelFormats"]
    return [f["name"].text for f in formats if f["autoSelect"].text == "true"]


def serving_containers(pod: Place, *, knative: bool = False) -> list[Place]:
    """Return the containers of a pod that take requests: KServe's by name, or the only one.

    On Knative, or where that is the cluster's choice, it is the one with a port: probes of others are refused there. A
    model's own container is a runtime's, and what stands beside it is none.
    """
    found = list(pod["containers"])
    if has_model(pod) or not found:
        return [c for c in found if c["name"].text == TRANSFORMER and not knative]
    if len(found) == 1:
        return found
    if knative:
        return ([c for c in found if c["ports"]] or [c for c in found if c["name"].text == SERVER])[:1]
    return [c for c in found if c["name"].text in (SERVER, TRANSFORMER)]


def gated(pod: Place) -> bool:
    """Return whether a container of the pod is a gate of ours with a readiness probe of its own."""
    for container in pod["containers"]:
        words = " ".join([*container["command"].texts, *container["args"].texts])
        if container["readinessProbe"]["httpGet"] and re.search(r"\bkserve[-_]warmup\s+gate\b", words):
            return True
    return False


def has_model(pod: Place) -> bool:
    """Return whether a component names a model, to which a runtime gives the container."""
    return any(pod[name] for name in ("model", *FRAMEWORKS))


def serving_objects(documents: list[Place], depth: int = 0) -> list[ServingObject]:
    """Return KServe's objects among documents; lists (``kind: List``) and OpenShift's templates are looked into."""
    found = []
    for document in documents:
        inner = document["items"] or (document["objects"] if document["kind"].text == "Template" else Place())
        if inner and depth < MOST_LISTS:
            found += serving_objects(list(inner), depth + 1)
        elif document["apiVersion"].text.startswith(GROUP) and document["kind"].text in (*RUNTIMES, SERVICE):
            found.append(ServingObject(document, document["kind"].text))
    return found
