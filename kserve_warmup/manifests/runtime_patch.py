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
from kserve_warmup.manifests.found_runtime import SERVER_WIDE, Found, number, path_of
from kserve_warmup.manifests.gate_container import GATE, gate_container, holds_port
from kserve_warmup.manifests.kubernetes_objects import KubernetesObject, Probe, plain, reasons
from kserve_warmup.manifests.kubernetes_objects import Path as Place
from kserve_warmup.manifests.manifest_options import Wanted
from kserve_warmup.manifests.probe_plan import drain, of_server
from kserve_warmup.manifests.server_kinds import SERVER
from kserve_warmup.manifests.serving_runtime import DEADLINE_ANNOTATION, gate_volumes, pod_annotations

TIMING = ("initialDelaySeconds", "periodSeconds", "timeoutSeconds", "successThreshold", "failureThreshold")
"""Of a probe: what stays when it asks something else."""


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
    """Put our questions where one may say yes too early, and more patience where there is too little; no more."""
    start, ready, live = of_server(wanted)
    _readiness(writer, found.part("readinessProbe"), ready, at)
    own, budget = found.part("startupProbe"), wanted.budget
    period = max(1, number(own.get("periodSeconds"), 10))
    failures = number(own.get("failureThreshold"), 3)
    if not own:
        writer.do("add", (*at, "startupProbe"), start)
    elif _early(own):
        longer = replace(start, failure_threshold=max(start.failure_threshold, -(-period * failures // budget.period)))
        writer.do("replace", (*at, "startupProbe"), longer)
    elif period * failures < budget.seconds:
        op = "replace" if "failureThreshold" in own else "add"
        more = -(-budget.seconds // period)
        writer.do(op, (*at, "startupProbe", "failureThreshold"), more, f"{more} times {period} s: {budget.told}")
    else:
        writer.kept.append(f"startupProbe: its {period * failures} s are enough for {budget.told}")
    if found.part("livenessProbe"):
        writer.kept.append("livenessProbe: it is not asked before the startup probe has said yes")
    elif live is not None and (wanted.live_path or "v2" in found.protocols):
        writer.do("add", (*at, "livenessProbe"), live)
    else:
        writer.kept.append("livenessProbe: none, since nobody knows where this server answers: --live-path says it")
    hook = drain(wanted)
    if found.part("lifecycle"):
        writer.kept.append("lifecycle")
    elif hook is not None:
        writer.do("add", (*at, "lifecycle"), hook)


def _readiness(writer: _Writer, own: Mapping[str, Any], ready: Probe, at: Place) -> None:
    if not own:
        writer.do("add", (*at, "readinessProbe"), ready)
    elif _early(own):
        told = f"it asked by {_how(own)}, which may say yes before the model is warm; its timing stays"
        timing = {key: own[key] for key in TIMING if isinstance(own.get(key), int)}
        writer.do("replace", (*at, "readinessProbe"), {"httpGet": plain(ready.http_get)} | timing, told)
    else:
        writer.kept.append(f"readinessProbe: it asks by {_how(own)}, and not the server as a whole")


def _early(probe: Mapping[str, Any]) -> bool:
    """Return whether a probe goes by the server alone; what a command or gRPC asks is its author's affair."""
    if "exec" in probe or "grpc" in probe:
        return False
    return path_of(probe) is None or path_of(probe) in SERVER_WIDE


def _how(probe: Mapping[str, Any]) -> str:
    kind = next((k for k in ("httpGet", "tcpSocket", "exec", "grpc") if k in probe), "nothing")
    return f"{kind} {path_of(probe) or ''}".strip()


def _without_port(writer: _Writer, found: Found, at: Place) -> None:
    told = "Knative takes ports and probes of one container alone, which is the gate's now"
    for name in ("ports", "readinessProbe", "startupProbe", "livenessProbe"):
        if name in found.container:
            writer.do("remove", (*at, name), why=told)


def _annotations(writer: _Writer, found: Found, wanted: Wanted) -> None:
    ours, why = pod_annotations(wanted)
    there = found.annotations
    for key, value in ours.items():
        if not there:
            writer.do("add", ("spec", "annotations"), {key: value}, why[key])
        elif key not in there or _seconds(str(there[key])) < _seconds(value):
            writer.do("add", ("spec", "annotations", key), value, why[key])
        else:
            writer.kept.append(f"{DEADLINE_ANNOTATION}: {there[key]}")
        there = {**there, key: value}


def _seconds(duration: str) -> float:
    """Return what Go reads, of whole seconds or minutes; what is written in another way counts as too short."""
    number, unit = duration[:-1], duration[-1:]
    return float(number) * {"s": 1, "m": 60, "h": 3600}[unit] if number.isdigit() and unit in "smh" else 0.0


def _gate(writer: _Writer, found: Found, wanted: Wanted) -> None:
    if any(c.get("name") == GATE for c in found.containers):
        raise WarmupError(f"{found.name} has a container {GATE} already: patch the runtime as it was before")
    writer.do("add", ("spec", "containers", "-"), gate_container(wanted), "the gate warms the server beside it")
    there = list(found.volumes)
    for volume in gate_volumes(wanted):
        if any(v.get("name") == volume.name for v in there):
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
