"""What the servers are started with, and where they say that a model is ready and that they live."""

from __future__ import annotations

from kserve_warmup.manifests.kubernetes_objects import EmptyDir, EnvVar, Mount, Volume
from kserve_warmup.manifests.manifest_options import Kind, Wanted
from kserve_warmup.protocols.inference_path import url_name

SERVER = "kserve-container"
"""The name by which KServe knows the model's container."""

TRITON_GRPC_PORT = 9000
_TEMPLATE = "{{.Name}}"


def arguments(wanted: Wanted) -> tuple[str, ...]:
    """Return the arguments of the server's container; one of the kind ``any`` has its image's own."""
    if wanted.kind is Kind.KSERVE:
        name = _TEMPLATE if wanted.templated else wanted.model
        own: tuple[str, ...] = (wanted.predictor, f"--model_name={name}", f"--http_port={wanted.port}")
    elif wanted.kind is Kind.TRITON:
        own = (
            "tritonserver",
            "--model-store=/mnt/models",
            f"--http-port={wanted.port}",
            f"--grpc-port={wanted.grpc_port or TRITON_GRPC_PORT}",
        )
    else:
        own = ()
    return (*own, *wanted.arguments)


def ready_path(wanted: Wanted) -> str:
    """Return where the server says whether the model is ready; KServe fills ``{{.Name}}`` in, in a runtime too."""
    name = _TEMPLATE if wanted.templated else url_name(wanted.model)
    return wanted.ready_path or f"/v2/models/{name}/ready"


def live_path(wanted: Wanted) -> str | None:
    """Return where the server says that it lives, None where nobody knows."""
    return wanted.live_path or (None if wanted.kind is Kind.ANY else "/v2/health/live")


def protocols(wanted: Wanted) -> tuple[str, ...]:
    """Return the protocols that the runtime declares."""
    return ("v2", "grpc-v2") if wanted.kind is Kind.TRITON else ("v1", "v2")


def home() -> tuple[EnvVar, ...]:
    """Return what any user id needs: one without a passwd entry has no home."""
    why = {"value": "an arbitrary user id has no passwd entry, and so no home"}
    return (EnvVar("HOME", "/tmp", why=why),)  # noqa: S108  (the pod's own)


def scratch(wanted: Wanted) -> tuple[tuple[Volume, Mount], ...]:
    """Return the volumes that a server with a read-only root writes to."""
    if wanted.kind is Kind.ANY:
        return ()
    found = [(Volume("tmp", empty_dir=EmptyDir()), Mount("tmp", "/tmp"))]  # noqa: S108  (the pod's own)
    if wanted.kind is Kind.TRITON:
        why = {"medium": "Python models talk to Triton through /dev/shm, of which a pod has 64 MB by itself"}
        found.append((Volume("shm", empty_dir=EmptyDir("Memory", why=why)), Mount("shm", "/dev/shm")))  # noqa: S108
    return tuple(found)
