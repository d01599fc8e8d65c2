"""A whole runtime and the InferenceService that uses it."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from kserve_warmup.manifests.gate_container import gate_container, holds_port
from kserve_warmup.manifests.kserve_objects import (
    Format,
    InferenceService,
    InferenceSpec,
    Model,
    Predictor,
    RollingUpdate,
    RuntimeSpec,
    ServingRuntime,
    StorageUri,
    Strategy,
)
from kserve_warmup.manifests.kubernetes_objects import (
    ConfigMap,
    Container,
    EnvVar,
    Metadata,
    Port,
    Resources,
    SecurityContext,
    Volume,
)
from kserve_warmup.manifests.manifest_options import Kind, Wanted
from kserve_warmup.manifests.places import Place
from kserve_warmup.manifests.probe_plan import deadline, drain, grace, of_server
from kserve_warmup.manifests.server_kinds import SERVER, arguments, home, protocols, scratch
from kserve_warmup.profile_file import PROFILE_FILE
from kserve_warmup.settings import PREFIX

DEADLINE_ANNOTATION = "serving.knative.dev/progress-deadline"
MODE_ANNOTATION = "serving.kserve.io/deploymentMode"

Document: TypeAlias = ServingRuntime | InferenceService | ConfigMap


def documents(wanted: Wanted) -> tuple[Document, ...]:
    """Return what has to be created, in that order: the sample set, the runtime, the service."""
    samples = wanted.samples.config_map if wanted.samples else None
    return (*((samples,) if samples else ()), runtime(wanted), service(wanted))


def runtime(wanted: Wanted) -> ServingRuntime:
    """Return a whole runtime: probes, budget, security, and a gate if there is one."""
    volumes = [volume for volume, _ in scratch(wanted)]
    containers = [server(wanted)]
    if wanted.gate_image is not None:
        containers.append(gate_container(wanted))
        volumes += gate_volumes(wanted)
    kind = Format(wanted.model_format, auto_select=False, why={"auto_select": "chosen by name, never by chance"})
    kept, why = pod_annotations(wanted)
    spec = RuntimeSpec((kind,), protocols(wanted), tuple(containers), tuple(volumes), kept, why=why)
    namespace = wanted.namespace if wanted.runtime_kind == "ServingRuntime" else None
    return ServingRuntime(Metadata(wanted.runtime_name, namespace), spec, kind=wanted.runtime_kind)


def pod_annotations(wanted: Wanted) -> tuple[dict[str, str], dict[str, str]]:
    """Return the annotations of the pods, and why they are there."""
    if not wanted.knative:
        return {}, {}
    seconds, told = deadline(wanted)
    return {DEADLINE_ANNOTATION: f"{seconds}s"}, {DEADLINE_ANNOTATION: told}


def gate_volumes(wanted: Wanted) -> tuple[Volume, ...]:
    """Return the volumes that a gate mounts."""
    return (wanted.samples.volume,) if wanted.samples and wanted.samples.volume else ()


def server(wanted: Wanted) -> Container:
    """Return the container of the model server."""
    port = Port(wanted.port, "http1")
    bare = Container(
        SERVER,
        wanted.image,
        args=arguments(wanted),
        env=() if wanted.kind is Kind.ANY else home(),
        volume_mounts=tuple(mount for _, mount in scratch(wanted)),
        resources=_resources(wanted),
        security_context=_security(wanted),
    )
    if holds_port(wanted):  # Knative refuses ports and probes of a second container
        return bare
    start, ready, live = of_server(wanted)
    return replace(
        bare, ports=(port,), startup_probe=start, readiness_probe=ready, liveness_probe=live, lifecycle=drain(wanted)
    )


def _security(wanted: Wanted) -> SecurityContext:
    why = {
        "run_as_non_root": "the restricted profile; no runAsUser: the image's user, or the one that OpenShift chooses"
    }
    if wanted.kind is Kind.ANY:  # nobody knows where such an image writes
        return SecurityContext(read_only_root_filesystem=None, why=why)
    return SecurityContext(why=why)


def _resources(wanted: Wanted) -> Resources:
    given = {"cpu": wanted.cpu, "memory": wanted.memory} | ({"nvidia.com/gpu": str(wanted.gpus)} if wanted.gpus else {})
    why = {"requests": "measure the time to ready with these: on fewer processors a start takes longer"}
    return Resources(given, given, why=why)


def service(wanted: Wanted) -> InferenceService:
    """Return the service; what is the single model's own stands here, all else in the runtime."""
    places = [p for p in (_own_samples(wanted), wanted.capture, wanted.profile) if p]
    uris = tuple(p.uri for p in places if p.uri)
    model = Model(
        Format(wanted.model_format),
        wanted.runtime_name,
        "v2" if wanted.kind is Kind.TRITON else None,
        None if uris else wanted.storage_uri,
        _variables(wanted),
        tuple(p.mount for p in places if p.mount),
    )
    seconds, told = grace(wanted)
    why = {
        "min_replicas": "at 0 the next request pays for a whole start: "
        f"{wanted.measured.p99:.1f} s as measured, and the time to schedule and pull"
    }
    predictor = Predictor(wanted.min_replicas, model, tuple(p.volume for p in places if p.volume), why=why)
    if uris:
        stored = _uris(wanted, uris)
        told_uris = "storageUri and storageUris exclude each other; all below one folder, as KServe asks"
        predictor = replace(predictor, storage_uris=stored, why={**predictor.why, "storage_uris": told_uris})
    if not wanted.knative:
        rollout = "no replica goes before a new one is warm"
        predictor = replace(
            predictor,
            termination_grace_period_seconds=seconds,
            deployment_strategy=Strategy(RollingUpdate(1, 0)),
            why={
                **predictor.why,
                "termination_grace_period_seconds": told,
                "deployment_strategy": rollout,
            },
        )
    mode = {MODE_ANNOTATION: "Knative" if wanted.knative else "Standard"}
    return InferenceService(Metadata(wanted.name, wanted.namespace, mode), InferenceSpec(predictor))


def _own_samples(wanted: Wanted) -> Place | None:
    """Return where the model itself finds its sample set; a gate has its own mount, in the runtime."""
    return None if wanted.gate_image is not None else wanted.samples


def _variables(wanted: Wanted) -> tuple[EnvVar, ...]:
    """Return what a WarmupModel is told."""
    if wanted.kind is not Kind.KSERVE or wanted.gate_image is not None:
        return ()
    found: list[EnvVar] = []

    def tell(name: str, value: str, why: str) -> None:
        found.append(EnvVar(f"{PREFIX}{name}", value, why={"value": why}))

    if wanted.max_seconds is not None:
        tell("MAX_SECONDS", f"{wanted.max_seconds:g}", "the warm-up's own limit, which ends before the startup budget")
    if wanted.samples:
        if wanted.samples.path:
            tell("SAMPLES", wanted.samples.path, wanted.samples.told)
        tell("ON_MISSING_SAMPLES", "fail", "a mount that is missing is told, and never served cold")
    if wanted.capture and wanted.capture.path:
        tell("CAPTURE_DIR", wanted.capture.path, f"the next start warms with what this one saw; {wanted.capture.told}")
    if wanted.profile and wanted.profile.path:
        file = f"{wanted.profile.path}/{PROFILE_FILE}"
        tell("PROFILE", file, f"what earlier starts have learned; {wanted.profile.told}")
        tell("PROFILE_WRITE", file, "and what this one learns")
    return tuple(found)


def _uris(wanted: Wanted, uris: tuple[StorageUri, ...]) -> tuple[StorageUri, ...]:
    model = (StorageUri(wanted.storage_uri, "/mnt/models"),) if wanted.storage_uri else ()
    return (*model, *uris)
