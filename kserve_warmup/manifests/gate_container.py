"""The gate: beside the server with a readiness probe of its own, or in front of it, where Knative allows but one."""

from __future__ import annotations

from dataclasses import replace

from kserve_warmup.manifests.kubernetes_objects import Container, Port, Resources, SecurityContext
from kserve_warmup.manifests.manifest_options import Kind, Wanted
from kserve_warmup.manifests.probe_plan import GATE_PORT, GATES, PROXY_PORT, open_port, readiness, startup
from kserve_warmup.manifests.server_kinds import TRITON_GRPC_PORT, home

GATE = "warmup-gate"

READY = "/ready"
"""Where the gate says yes once all is warm."""


def holds_port(wanted: Wanted) -> bool:
    """Return whether the gate has the pod's one port, and the probes: so it must be on Knative."""
    return wanted.gate_image is not None and wanted.knative


def gate_container(wanted: Wanted) -> Container:
    """Return the gate's container."""
    assert wanted.gate_image is not None
    assert wanted.samples is not None
    given = {"cpu": "100m", "memory": "128Mi"}
    limits = {"cpu": "1", "memory": "256Mi"}
    told = "it works while the server warms; afterwards it only watches" + (
        ", and passes requests on" if holds_port(wanted) else ""
    )
    gate = Container(
        GATE,
        wanted.gate_image,
        ("kserve-warmup", "gate"),
        _arguments(wanted),
        env=home(),
        volume_mounts=(wanted.samples.mount,) if wanted.samples.mount else (),
        resources=Resources(given, limits, why={"requests": told}),
        security_context=SecurityContext(),
    )
    if holds_port(wanted):
        return replace(
            gate,
            ports=(Port(PROXY_PORT, "http1"),),
            startup_probe=startup(wanted, READY, PROXY_PORT, GATES),
            readiness_probe=readiness(wanted, READY, PROXY_PORT, GATES),
            liveness_probe=open_port(PROXY_PORT),
            why={"ports": "Knative takes one port in a pod, and probes only of the container that has it"},
        )
    why = {"readiness_probe": "a pod is ready when all its containers are, so requests wait for the gate"}
    return replace(gate, readiness_probe=readiness(wanted, READY, GATE_PORT, GATES), why=why)


def _arguments(wanted: Wanted) -> tuple[str, ...]:
    assert wanted.samples is not None
    found = [f"http://localhost:{wanted.port}", f"--samples={wanted.samples.path}", f"--model={wanted.model}"]
    grpc = wanted.grpc_port or (TRITON_GRPC_PORT if wanted.kind is Kind.TRITON else None)
    if grpc is not None:
        found.append(f"--grpc=localhost:{grpc}")
    if wanted.max_seconds is not None:
        found.append(f"--max-seconds={wanted.max_seconds:g}")
    found.append(f"--proxy={PROXY_PORT}" if holds_port(wanted) else f"--port={GATE_PORT}")
    return tuple(found)
