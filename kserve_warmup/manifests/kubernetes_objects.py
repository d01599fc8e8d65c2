"""Kubernetes objects as plain data; each field may carry the reason for its value. What YAML is, they don't know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

Path = tuple[str | int, ...]
"""Where a field stands in a document: ``("spec", "containers", 0, "startupProbe")``."""


@dataclass(frozen=True, kw_only=True)
class KubernetesObject:
    """What all have: ``why`` says of a field, by its name here, why it has its value."""

    why: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class HttpGet(KubernetesObject):
    """A probe's request; any status from 200 to 399 is a yes."""

    path: str
    port: int


@dataclass(frozen=True)
class TcpSocket(KubernetesObject):
    """A probe's connection; that it is taken is a yes."""

    port: int


@dataclass(frozen=True)
class Probe(KubernetesObject):
    """How the kubelet asks, in one of two ways; period times failures is its patience."""

    period_seconds: int
    timeout_seconds: int
    failure_threshold: int
    success_threshold: int = 1
    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None


@dataclass(frozen=True)
class Sleep(KubernetesObject):
    """A hook that waits; it needs no shell in the image (Kubernetes 1.30 and later)."""

    seconds: int


@dataclass(frozen=True)
class Hook(KubernetesObject):
    """What is done at a moment of a container's life."""

    sleep: Sleep


@dataclass(frozen=True)
class Lifecycle(KubernetesObject):
    """The hooks of a container."""

    pre_stop: Hook


@dataclass(frozen=True)
class Capabilities(KubernetesObject):
    """Those that a container gives up."""

    drop: tuple[str, ...]


@dataclass(frozen=True)
class SeccompProfile(KubernetesObject):
    """The filter of system calls."""

    type: str


@dataclass(frozen=True)
class SecurityContext(KubernetesObject):
    """What a container may; the defaults are Kubernetes' "restricted" profile, under whatever user id."""

    run_as_non_root: bool = True
    allow_privilege_escalation: bool = False
    read_only_root_filesystem: bool | None = True
    capabilities: Capabilities = field(default_factory=lambda: Capabilities(("ALL",)))
    seccomp_profile: SeccompProfile = field(default_factory=lambda: SeccompProfile("RuntimeDefault"))


@dataclass(frozen=True)
class Resources(KubernetesObject):
    """What a container gets, as Kubernetes writes quantities."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]


@dataclass(frozen=True)
class EnvVar(KubernetesObject):
    """A variable of the environment."""

    name: str
    value: str


@dataclass(frozen=True)
class Port(KubernetesObject):
    """A port that a container listens on."""

    container_port: int
    name: str
    protocol: str = "TCP"


@dataclass(frozen=True)
class EmptyDir(KubernetesObject):
    """A folder that lives as long as the pod."""

    medium: str | None = None


@dataclass(frozen=True)
class ConfigMapSource(KubernetesObject):
    """The files of a ConfigMap."""

    name: str


@dataclass(frozen=True)
class ClaimSource(KubernetesObject):
    """A PersistentVolumeClaim's volume."""

    claim_name: str
    read_only: bool | None = None


@dataclass(frozen=True)
class Volume(KubernetesObject):
    """A volume of a pod: one of its sources is set."""

    name: str
    empty_dir: EmptyDir | None = None
    config_map: ConfigMapSource | None = None
    persistent_volume_claim: ClaimSource | None = None


@dataclass(frozen=True)
class Mount(KubernetesObject):
    """Where a container finds a volume."""

    name: str
    mount_path: str
    sub_path: str | None = None
    read_only: bool | None = None


@dataclass(frozen=True)
class Container(KubernetesObject):
    """A container of a pod."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    env: tuple[EnvVar, ...] = ()
    volume_mounts: tuple[Mount, ...] = ()
    startup_probe: Probe | None = None
    readiness_probe: Probe | None = None
    liveness_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    resources: Resources | None = None
    security_context: SecurityContext | None = None


@dataclass(frozen=True)
class Metadata(KubernetesObject):
    """An object's name."""

    name: str
    namespace: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ConfigMap(KubernetesObject):
    """Files, text and other bytes (in base64) apart; what is immutable the kubelet need not watch."""

    metadata: Metadata
    data: Mapping[str, str]
    binary_data: Mapping[str, str]
    api_version: str = "v1"
    kind: str = "ConfigMap"
    immutable: bool = True


def camel(name: str) -> str:
    """Return what Kubernetes calls a field: ``period_seconds`` is ``periodSeconds``."""
    return re.sub(r"_(.)", lambda m: m[1].upper(), name)


HEAD = ("api_version", "kind", "metadata", "http_get", "tcp_socket")
"""What stands first in an object."""


def plain(value: Any) -> Any:
    """Return an object as JSON-compatible data; what is not set is left out."""
    if isinstance(value, KubernetesObject):
        names = [f.name for f in fields(value) if f.name != "why"]
        ordered = sorted(names, key=lambda name: HEAD.index(name) if name in HEAD else len(HEAD))
        return {camel(n): plain(v) for n in ordered if (v := getattr(value, n)) is not None and v not in ((), {})}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def reasons(value: Any, at: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield where something has a reason, and the reason, in the order of the document."""
    if isinstance(value, KubernetesObject):
        names = [f.name for f in fields(value) if f.name != "why"]
        unknown = set(value.why) - {*names, *(key for n in names for key in _keys(value, n))}
        assert not unknown, unknown
        for name in names:
            here = (*at, camel(name))
            if name in value.why:
                yield here, value.why[name]
            yield from reasons(getattr(value, name), here)
            for key in _keys(value, name):
                if key in value.why:
                    yield (*here, key), value.why[key]
    elif isinstance(value, tuple):
        for number, item in enumerate(value):
            yield from reasons(item, (*at, number))


def _keys(value: KubernetesObject, name: str) -> tuple[str, ...]:
    """Return the keys of a field that is a mapping, such as annotations, whose reasons are told by key."""
    held = getattr(value, name)
    return tuple(held) if isinstance(held, Mapping) else ()
