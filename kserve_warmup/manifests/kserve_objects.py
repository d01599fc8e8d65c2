"""KServe's objects as plain data: the runtime, which platform teams own, and the InferenceService, which uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kserve_warmup.manifests.kubernetes_objects import Container, EnvVar, KubernetesObject, Metadata, Mount, Volume


@dataclass(frozen=True)
class Format(KubernetesObject):
    """A kind of model that a runtime serves, or that a model is."""

    name: str
    auto_select: bool | None = None


@dataclass(frozen=True)
class RuntimeSpec(KubernetesObject):
    """The pod of a model server, but for what is the single model's own."""

    supported_model_formats: tuple[Format, ...]
    protocol_versions: tuple[str, ...]
    containers: tuple[Container, ...]
    volumes: tuple[Volume, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ServingRuntime(KubernetesObject):
    """A runtime; of the kind ``ClusterServingRuntime`` it is there for all namespaces."""

    metadata: Metadata
    spec: RuntimeSpec
    api_version: str = "serving.kserve.io/v1alpha1"
    kind: str = "ServingRuntime"


@dataclass(frozen=True)
class StorageUri(KubernetesObject):
    """Something that KServe downloads before the server starts, and where it puts it."""

    uri: str
    mount_path: str


@dataclass(frozen=True)
class Model(KubernetesObject):
    """The model; its environment and mounts are added to those of the runtime's container."""

    model_format: Format
    runtime: str
    protocol_version: str | None = None
    storage_uri: str | None = None
    env: tuple[EnvVar, ...] = ()
    volume_mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True)
class RollingUpdate(KubernetesObject):
    """How many pods more, and how many fewer, there may be meanwhile."""

    max_surge: int
    max_unavailable: int


@dataclass(frozen=True)
class Strategy(KubernetesObject):
    """How a Deployment replaces its pods."""

    rolling_update: RollingUpdate
    type: str = "RollingUpdate"


@dataclass(frozen=True)
class Predictor(KubernetesObject):
    """The part of an InferenceService that serves the model."""

    min_replicas: int
    model: Model
    volumes: tuple[Volume, ...] = ()
    storage_uris: tuple[StorageUri, ...] = ()
    termination_grace_period_seconds: int | None = None
    deployment_strategy: Strategy | None = None


@dataclass(frozen=True)
class InferenceSpec(KubernetesObject):
    """What an InferenceService is made of."""

    predictor: Predictor


@dataclass(frozen=True)
class InferenceService(KubernetesObject):
    """A model that is served."""

    metadata: Metadata
    spec: InferenceSpec
    api_version: str = "serving.kserve.io/v1beta1"
    kind: str = "InferenceService"
