"""A runtime that somebody else wrote, read as far as a patch has to know it: each part has its type, or is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.manifests.places import DNS_NAME
from kserve_warmup.manifests.server_kinds import SERVER

RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
GROUP = "serving.kserve.io/"

_ROOTS = ("", "/health", "/healthz", "/live", "/livez", "/metrics", "/ping", "/ready", "/readyz", "/v2")
_BELOW = ("/health/live", "/health/ready", "/healthz/ready", "/q/health/ready", "/v2/health/live", "/v2/health/ready")
SERVER_WIDE = frozenset(f"{path}{end}" for path in (*_ROOTS, *_BELOW) for end in ("", "/"))
"""Paths that go by no model: they may say yes before it is warm."""


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """Return a mapping; nothing counts as an empty one.

    Raises:
        WarmupError: it is something else.
    """
    if not isinstance(value or {}, Mapping):
        raise WarmupError(f"{where} is a {type(value).__name__} and no mapping: is this a runtime?")
    return value or {}


def items(value: Any, where: str) -> Sequence[Mapping[str, Any]]:
    """Return a list of mappings; nothing counts as an empty one.

    Raises:
        WarmupError: it is something else.
    """
    if not isinstance(value or [], list):
        raise WarmupError(f"{where} is a {type(value).__name__} and no list: is this a runtime?")
    return [mapping(item, f"{where}.{place}") for place, item in enumerate(value or [])]


def path_of(probe: Mapping[str, Any]) -> str | None:
    """Return the path that a probe asks, None where it asks in another way."""
    path = mapping(probe.get("httpGet"), "httpGet").get("path")
    return path if isinstance(path, str) else None


def number(value: Any, default: int) -> int:
    """Return a whole number, or what Kubernetes takes where there is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


@dataclass(frozen=True, slots=True)
class Found:
    """A runtime that was read.

    Attributes:
        document: All of it.
        containers: Its containers.
        index: Which of them is the model server's.
        volumes: Its volumes.
        annotations: Those of its pods.
        protocols: Those that it declares, if it does.
        model_format: The first that it serves.
    """

    document: Mapping[str, Any]
    containers: Sequence[Mapping[str, Any]]
    index: int
    volumes: Sequence[Mapping[str, Any]]
    annotations: Mapping[str, Any]
    protocols: Sequence[Any]
    model_format: str | None

    @property
    def declares_others(self) -> bool:
        """Whether it says what it speaks, and v2, which has a readiness of each model's own, is not in it."""
        return bool(self.protocols) and "v2" not in self.protocols

    @property
    def name(self) -> str:
        """Return its name."""
        return str(self.document["metadata"]["name"])

    @property
    def kind(self) -> str:
        """Return its kind."""
        return str(self.document["kind"])

    @property
    def container(self) -> Mapping[str, Any]:
        """Return the model server's container."""
        return self.containers[self.index]

    def part(self, name: str) -> Mapping[str, Any]:
        """Return a part of that container which is a mapping, such as a probe; empty where there is none."""
        return mapping(self.container.get(name), name)

    @property
    def ready_path(self) -> str | None:
        """Return where its own readiness probe asks, if that is a model's endpoint."""
        asked = path_of(self.part("readinessProbe"))
        return None if asked in SERVER_WIDE else asked

    @property
    def port(self) -> int | None:
        """Return the port that its probes ask: the first that it declares, or that its arguments name."""
        for port in items(self.container.get("ports"), "ports"):
            if number(port.get("containerPort"), 0):
                return int(port["containerPort"])
        arguments = self.container.get("args")
        for argument in arguments if isinstance(arguments, list) else ():
            name, _, value = str(argument).lstrip("-").replace("_", "-").partition("=")
            if name in ("http-port", "rest-port", "port") and value.isascii() and value.isdigit():
                return int(value)
        return None


def found_runtime(documents: Sequence[Any], where: str, name: str | None) -> Found:
    """Return the runtime in a file's documents; ``name`` chooses among several.

    Raises:
        WarmupError: there is none, or several, or it has no container that KServe would take for the model server's.
    """
    runtimes = [d for d in documents if isinstance(d, Mapping) and d.get("kind") in RUNTIMES]
    names = [str(mapping(d.get("metadata"), f"{where}: metadata").get("name")) for d in runtimes]
    chosen = [d for d, own in zip(runtimes, names, strict=True) if name in (None, own)]
    if not chosen:
        held = f"; it holds {', '.join(names)}" if names else ""
        raise WarmupError(f"{where} holds no ServingRuntime or ClusterServingRuntime{f' {name}' if name else ''}{held}")
    if len(chosen) > 1:
        raise WarmupError(f"{where} holds {len(chosen)} runtimes ({', '.join(names)}): choose one with --from-name")
    return _read(chosen[0], where)


def _read(document: Mapping[str, Any], where: str) -> Found:
    if not str(document.get("apiVersion")).startswith(GROUP):
        raise WarmupError(f"{where}: its apiVersion is {document.get('apiVersion')!r}, and no {GROUP}VERSION")
    name = mapping(document.get("metadata"), f"{where}: metadata").get("name")
    if not isinstance(name, str) or not DNS_NAME.fullmatch(name):
        raise WarmupError(f"{where}: metadata.name is missing, or is no name that Kubernetes takes")
    spec = mapping(document.get("spec"), f"{where}: spec")
    containers = items(spec.get("containers"), f"{where}: spec.containers")
    index = next((i for i, c in enumerate(containers) if c.get("name") == SERVER), None)
    if index is None:
        has = ", ".join(str(c.get("name")) for c in containers) or "none"
        raise WarmupError(f"{where}: there is no container {SERVER}, which is the one KServe serves from; it has {has}")
    formats = items(spec.get("supportedModelFormats"), f"{where}: spec.supportedModelFormats")
    first = formats[0].get("name") if formats else None
    protocols = spec.get("protocolVersions")
    return Found(
        document,
        containers,
        index,
        items(spec.get("volumes"), f"{where}: spec.volumes"),
        mapping(spec.get("annotations"), f"{where}: spec.annotations"),
        protocols if isinstance(protocols, list) else (),
        first if isinstance(first, str) else None,
    )
