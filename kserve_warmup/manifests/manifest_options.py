"""What manifests are asked for, checked: names, paths, sizes and what goes together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from kserve_warmup.errors import WarmupError
from kserve_warmup.manifests.places import DNS_NAME, Place
from kserve_warmup.manifests.start_budget import Budget, Measured
from kserve_warmup.protocols.inference_path import url_name

KServeName = re.compile(r"[a-z]([-a-z0-9]{0,48}[a-z0-9])?")
"""Of an InferenceService: KServe makes host names of it."""

QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_PATH = re.compile(r"/[-A-Za-z0-9._~%!$&'()*+,;=:@/]*")

RESERVED_BY_KNATIVE = frozenset({8008, 8012, 8013, 8022, 9090, 9091})
"""Ports of Knative's queue-proxy (knative/serving, pkg/apis/serving/k8s_validation.go)."""


class Kind(str, Enum):
    """Who warms the model."""

    KSERVE = "kserve"
    TRITON = "triton"
    ANY = "any"


class Mode(str, Enum):
    """How KServe deploys: as Deployments, or on Knative."""

    STANDARD = "standard"
    KNATIVE = "knative"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What manifests have to say.

    Attributes:
        kind: Who warms: the model itself (WarmupModel), Triton by its model_warmup, or a gate alone.
        mode: How KServe deploys.
        model: The model's name on the server.
        name: That of the InferenceService.
        runtime_name: That of its runtime.
        image: Of the server; empty where an existing runtime has it.
        measured: The starts.
        budget: What a start may take.
        max_seconds: The warm-up's own limit; None: Triton's, which has none.
        samples: How the sample set comes into the pod; None: it need not.
        capture: Where the model records its traffic.
        profile: Where it keeps what starts have learned.
        gate_image: That of a gate beside the server; None: there is none.
        port: That the server speaks HTTP on.
        grpc_port: That it speaks gRPC on; None: the next.
        ready_path: Where it says whether the model is ready; None: as the kind has it.
        live_path: Where it says that it lives; None: as the kind has it, or no probe.
        arguments: What is appended to the server's.
        filled_in: Whether KServe reads it, which fills names in; what a chart is for nobody knows.
        drain_seconds: Between a pod's end and the server's, in which no new requests find it any more.
    """

    kind: Kind
    mode: Mode
    model: str
    name: str
    runtime_name: str
    image: str
    measured: Measured
    budget: Budget
    max_seconds: float | None
    samples: Place | None = None
    capture: Place | None = None
    profile: Place | None = None
    gate_image: str | None = None
    namespace: str | None = None
    runtime_kind: Literal["ServingRuntime", "ClusterServingRuntime"] = "ServingRuntime"
    model_format: str = "custom"
    storage_uri: str | None = None
    predictor: str = "predictor:Predictor"
    arguments: tuple[str, ...] = ()
    port: int = 8080
    grpc_port: int | None = None
    ready_path: str | None = None
    live_path: str | None = None
    cpu: str = "1"
    memory: str = "2Gi"
    gpus: int = 0
    min_replicas: int = 1
    drain_seconds: int = 5
    filled_in: bool = True

    def __post_init__(self) -> None:
        """Refuse what does not fit.

        Raises:
            WarmupError: the first thing that is wrong.
        """
        url_name(self.model)
        self._check_names()
        self._check_figures()
        self._check_gate()

    @property
    def templated(self) -> bool:
        """Return whether the model has its InferenceService's name, so that a runtime need not name it."""
        return self.filled_in and self.model == self.name

    @property
    def knative(self) -> bool:
        """Return whether Knative's rules hold."""
        return self.mode is Mode.KNATIVE

    def _check_names(self) -> None:
        if re.search(r"\{\{|\$\(", self.model):
            msg = "a name has neither {{ nor $(, which KServe and Kubernetes would fill in"
            raise WarmupError(f"--model {self.model!r}: {msg}")
        if not KServeName.fullmatch(self.name):
            msg = f"--name {self.name!r}: an InferenceService's name has small letters, digits and dashes, 50 at most"
            raise WarmupError(f"{msg}, such as digits-knn")
        if self.namespace is not None and not DNS_NAME.fullmatch(self.namespace):
            raise WarmupError(f"--namespace {self.namespace!r}: it has small letters, digits and dashes")
        for option, path in (("--ready-path", self.ready_path), ("--live-path", self.live_path)):
            if path is not None and not _PATH.fullmatch(path.replace("{{.Name}}", "name")):
                raise WarmupError(f"{option} {path!r}: give a path, such as /v2/models/NAME/ready")
        for option, image in (("--image", self.image), ("--gate-image", self.gate_image)):
            if image and not image.strip():
                raise WarmupError(f"{option}: give the name of an image")

    def _check_figures(self) -> None:
        ports = (("--port", self.port), ("--grpc-port", self.grpc_port))
        for option, port in ports:
            if port is not None and not 0 < port < 1 << 16:
                raise WarmupError(f"{option} {port}: a port is a number from 1 to 65535")
            if port in RESERVED_BY_KNATIVE and self.knative:
                raise WarmupError(f"{option} {port}: Knative keeps this port for itself; let the server take another")
        for option, quantity in (("--cpu", self.cpu), ("--memory", self.memory)):
            if not QUANTITY.fullmatch(quantity):
                raise WarmupError(f"{option} {quantity!r}: write it as Kubernetes does, such as 500m, 2 or 4Gi")
        if self.min_replicas < 1:
            raise WarmupError("--min-replicas 0 lets users pay for a start: at least 1, or scale ahead of demand")
        if self.gpus < 0:
            raise WarmupError(f"--gpus {self.gpus}: a number from 0")
        if not 0 <= self.drain_seconds <= 600:  # noqa: PLR2004  (ten minutes)
            raise WarmupError(f"--drain-seconds {self.drain_seconds}: give seconds from 0 to 600")

    def _check_gate(self) -> None:
        if self.gate_image is None:
            if self.kind is Kind.ANY:
                raise WarmupError("--runtime any: nothing warms it but a gate: name its image with --gate-image")
            if self.kind is Kind.TRITON and self.samples is not None:
                msg = "Triton's warm-up lies in its repository ('kserve-warmup triton' writes it): leave out --samples"
                raise WarmupError(f"{msg}, or put a gate beside it with --gate-image")
            return
        if self.samples is None:
            raise WarmupError("a gate needs a sample set: name it with --samples DIR, or where it is with --samples-in")
        if self.samples.mount is None and not (self.samples.path and self.samples.told == "in the image"):
            msg = "KServe mounts the artifact and what it downloads in the server's container alone: for a gate give"
            raise WarmupError(f"{msg} --samples-in configmap, image:PATH or pvc://CLAIM/PATH")
        if self.capture is not None or self.profile is not None:
            raise WarmupError("--capture-in and --profile-in are a WarmupModel's: leave them out with --gate-image")
