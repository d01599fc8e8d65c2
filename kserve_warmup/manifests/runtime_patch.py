"""A patch to a runtime that is there (JSON 6902, which kubectl and Kustomize apply): nothing of it is lost.

KServe's kinds are custom resources, of whose lists nobody knows the keys: a strategic merge would replace all
containers by those of the patch. So each operation names its place, and a ``test`` comes first: is it still the right
one?
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from kserve_warmup.errors import WarmupError
from kserve_warmup.manifests.gate_container import GATE, gate_container, holds_port
from kserve_warmup.manifests.kubernetes_objects import KubernetesObject, plain, reasons
from kserve_warmup.manifests.kubernetes_objects import Path as Place
from kserve_warmup.manifests.manifest_options import Wanted
from kserve_warmup.manifests.probe_plan import drain, of_server
from kserve_warmup.manifests.server_kinds import SERVER
from kserve_warmup.manifests.serving_runtime import DEADLINE_ANNOTATION, gate_volumes, pod_annotations

RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")


@dataclass(frozen=True, slots=True)
class Found:
    """A runtime that was read: the document, and where KServe's container is among its containers."""

    document: Mapping[str, Any]
    index: int

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
        found: Mapping[str, Any] = self.document["spec"]["containers"][self.index]
        return found

    @property
    def speaks_v2(self) -> bool:
        """Return whether it says that it does; one that says nothing may."""
        named = self.document["spec"].get("protocolVersions")
        return not named or "v2" in named

    @property
    def model_format(self) -> str | None:
        """Return the first format that it serves."""
        formats = self.document["spec"].get("supportedModelFormats") or [{}]
        return formats[0].get("name") if isinstance(formats[0], Mapping) else None

    @property
    def port(self) -> int | None:
        """Return the port that its probes ask: the first that it declares, or that its arguments name."""
        for port in self.container.get("ports") or ():
            if isinstance(port, Mapping) and isinstance(port.get("containerPort"), int):
                return int(port["containerPort"])
        for argument in self.container.get("args") or ():
            name, _, value = str(argument).lstrip("-").replace("_", "-").partition("=")
            if name in ("http-port", "rest-port", "port") and value.isdigit():
                return int(value)
        return None


def found_runtime(documents: list[Any], where: str, name: str | None) -> Found:
    """Return the runtime in a file's documents; ``name`` chooses among several.

    Raises:
        WarmupError: there is none, or several, or it has no container that KServe would take for the model server's.
    """
    runtimes = [d for d in documents if isinstance(d, Mapping) and d.get("kind") in RUNTIMES]
    names = [str((d.get("metadata") or {}).get("name")) for d in runtimes]
    chosen = [d for d, own in zip(runtimes, names, strict=True) if name in (None, own)]
    if not chosen:
        held = f"; it holds {', '.join(names)}" if names else ""
        raise WarmupError(f"{where} holds no ServingRuntime or ClusterServingRuntime{f' {name}' if name else ''}{held}")
    if len(chosen) > 1:
        raise WarmupError(f"{where} holds {len(chosen)} runtimes ({', '.join(names)}): choose one with --from-name")
    document = chosen[0]
    if not isinstance(document.get("metadata"), Mapping) or not isinstance(document["metadata"].get("name"), str):
        raise WarmupError(f"{where}: metadata.name is missing")
    containers = document["spec"].get("containers") if isinstance(document.get("spec"), Mapping) else None
    if not isinstance(containers, list) or not all(isinstance(c, Mapping) for c in containers):
        raise WarmupError(f"{where}: spec.containers is no list of containers")
    index = next((i for i, c in enumerate(containers) if c.get("name") == SERVER), None)
    if index is None:
        has = ", ".join(str(c.get("name")) for c in containers) or "none"
        raise WarmupError(f"{where}: there is no container {SERVER}, which is the one KServe serves from; it has {has}")
    return Found(document, index)


@dataclass(frozen=True, slots=True)
class Patch:
    """The operations, and why each is there, by its number; ``kept`` says what was left as it is."""

    operations: tuple[Mapping[str, Any], ...]
    why: Mapping[int, tuple[str, str]]
    kept: tuple[str, ...]


@dataclass(slots=True)
class _Writer:
    operations: list[Mapping[str, Any]] = field(default_factory=list)
    why: dict[int, tuple[str, str]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    def do(self, op: str, place: Place, value: Any = None, why: str = "") -> None:
        told = value.why if isinstance(value, KubernetesObject) else {}
        inner = "; ".join(dict.fromkeys(text for _, text in reasons(value))) if told else ""
        self.why[len(self.operations)] = (_dotted(place), why or inner)
        operation: dict[str, Any] = {"op": op, "path": _pointer(place)}
        self.operations.append(operation if op == "remove" else operation | {"value": plain(value)})


def patch_of(found: Found, wanted: Wanted) -> Patch:
    """Return what makes an existing runtime ready only once it is warm.

    Raises:
        WarmupError: something of ours is there already, with another content.
    """
    writer, at = _Writer(), ("spec", "containers", found.index)
    writer.do("test", (*at, "name"), SERVER, "applies to the runtime as it was read, or not at all")
    if holds_port(wanted):
        _without_port(writer, found, at)
    else:
        _probes(writer, found, wanted, at)
    _annotations(writer, found, wanted)
    if wanted.gate_image is not None:
        _gate(writer, found, wanted)
    return Patch(tuple(writer.operations), writer.why, tuple(writer.kept))


def _probes(writer: _Writer, found: Found, wanted: Wanted, at: Place) -> None:
    """Put our questions in, and keep the timing of those that were there; of a startup probe the longer patience."""
    start, ready, live = of_server(wanted)
    own = found.container.get("readinessProbe")
    if not own:
        writer.do("add", (*at, "readinessProbe"), ready)
    elif plain(ready)["httpGet"]["path"] == (own.get("httpGet") or {}).get("path"):
        writer.kept.append("readinessProbe: it asks the model's own endpoint already")
    else:
        asks = next((k for k in ("httpGet", "tcpSocket", "exec", "grpc") if k in own), "nothing")
        told = f"it asked by {asks}, which says yes before the model is warm; its timing stays"
        timing = {k: v for k, v in own.items() if k not in ("httpGet", "tcpSocket", "exec", "grpc")}
        writer.do("replace", (*at, "readinessProbe"), {"httpGet": plain(ready.http_get)} | timing, told)
    own = found.container.get("startupProbe")
    patience = int((own or {}).get("periodSeconds") or 10) * int((own or {}).get("failureThreshold") or 3)
    if not own:
        writer.do("add", (*at, "startupProbe"), start)
    elif (
        patience >= wanted.budget.seconds and (own.get("httpGet") or {}).get("path") == plain(start)["httpGet"]["path"]
    ):
        writer.kept.append(f"startupProbe: its {patience} s are enough for {wanted.budget.told}")
    else:
        longer = replace(start, failure_threshold=max(start.failure_threshold, patience // start.period_seconds))
        writer.do("replace", (*at, "startupProbe"), longer)
    if found.container.get("livenessProbe"):
        writer.kept.append("livenessProbe: it is not asked before the startup probe has said yes")
    elif live is not None:
        writer.do("add", (*at, "livenessProbe"), live)
    hook = drain(wanted)
    if found.container.get("lifecycle"):
        writer.kept.append("lifecycle")
    elif hook is not None:
        writer.do("add", (*at, "lifecycle"), hook)


def _without_port(writer: _Writer, found: Found, at: Place) -> None:
    told = "Knative takes ports and probes of one container alone, which is the gate's now"
    for name in ("ports", "readinessProbe", "startupProbe", "livenessProbe"):
        if name in found.container:
            writer.do("remove", (*at, name), why=told)


def _annotations(writer: _Writer, found: Found, wanted: Wanted) -> None:
    ours, why = pod_annotations(wanted)
    there = found.document["spec"].get("annotations")
    for key, value in ours.items():
        if not there:
            writer.do("add", ("spec", "annotations"), {key: value}, why[key])
        elif key not in there or _seconds(str(there[key])) < _seconds(value):
            writer.do("add", ("spec", "annotations", key), value, why[key])
        else:
            writer.kept.append(f"{DEADLINE_ANNOTATION}: {there[key]}")
        there = {**(there or {}), key: value}


def _seconds(duration: str) -> float:
    """Return what Go reads, of whole seconds or minutes; what is written in another way counts as too short."""
    number, unit = duration[:-1], duration[-1:]
    return float(number) * {"s": 1, "m": 60, "h": 3600}[unit] if number.isdigit() and unit in "smh" else 0.0


def _gate(writer: _Writer, found: Found, wanted: Wanted) -> None:
    spec = found.document["spec"]
    if any(c.get("name") == GATE for c in spec["containers"]):
        raise WarmupError(f"{found.name} has a container {GATE} already: patch the runtime as it was before")
    writer.do("add", ("spec", "containers", "-"), gate_container(wanted), "the gate warms the server beside it")
    there = list(spec.get("volumes") or ())
    for volume in gate_volumes(wanted):
        if any(isinstance(v, Mapping) and v.get("name") == volume.name for v in there):
            raise WarmupError(f"{found.name} has a volume {volume.name} already: patch the runtime as it was before")
        told = "the sample set; so the runtime is this model's own"
        if there:
            writer.do("add", ("spec", "volumes", "-"), volume, told)
        else:
            writer.do("add", ("spec", "volumes"), (volume,), told)
        there.append(plain(volume))


def _pointer(place: Place) -> str:
    """Return a place as RFC 6901 writes it."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in place)


def _dotted(place: Place) -> str:
    return ".".join(map(str, place))
