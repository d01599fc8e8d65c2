"""The probes: ready means warm, a start has the time that it was measured to need, and no probe ends a warm-up."""

from __future__ import annotations

import math

from kserve_warmup.manifests.kubernetes_objects import Hook, HttpGet, Lifecycle, Probe, Sleep, TcpSocket
from kserve_warmup.manifests.manifest_options import Kind, Wanted
from kserve_warmup.manifests.server_kinds import live_path, ready_path

TIMEOUT = 3
"""Seconds that an answer may take: the server may be computing."""

LIVE_PERIOD, LIVE_FAILURES = 10, 6
"""A minute of silence before a server is started anew: a busy one answers late, and a new one has to warm first."""

LEAST_GRACE = 30
"""Kubernetes' own grace period, in seconds."""

DEADLINE = 600
"""The progress deadline of Kubernetes' Deployments, KServe's and Knative's, in seconds."""

PULL_SECONDS = 300
"""For scheduling, pulling the image and downloading the model, which come before the start that was measured."""

GATE_PORT = 8085
PROXY_PORT = 8088
"""Where the gate listens beside a server, and in front of it."""


OWN = "the model's own endpoint, which says yes only once it is warm: a server-wide one says yes while it loads"
GATES = "the gate's /ready: yes once the server is warm, and no again when it has restarted"


def startup(wanted: Wanted, path: str, port: int, asks: str = OWN) -> Probe:
    """Return the probe that holds off the others until the model is warm, or the server is given up."""
    budget = wanted.budget
    why = {
        "failure_threshold": f"{budget.failures} times {budget.period} s: {budget.told}",
        "http_get": asks,
    }
    return Probe(budget.period, TIMEOUT, budget.failures, http_get=HttpGet(path, port), why=why)


def readiness(wanted: Wanted, path: str, port: int, asks: str = OWN) -> Probe:
    """Return the probe that lets requests in."""
    period = min(wanted.budget.period, 5)
    why = {
        "http_get": asks,
        "period_seconds": f"a replica takes part at most {period} s later than it could",
    }
    return Probe(period, TIMEOUT, 3, http_get=HttpGet(path, port), why=why)


def liveness(path: str, port: int) -> Probe:
    """Return the probe that starts a server anew which says nothing at all."""
    patience = LIVE_PERIOD * LIVE_FAILURES
    why = {
        "http_get": "asks whether the server answers at all; it begins only when the startup probe has said yes, and "
        "goes by no model, so it cannot end a warm-up",
        "failure_threshold": f"{patience} s of silence: a busy server answers late, and a new one has to warm first",
    }
    return Probe(LIVE_PERIOD, TIMEOUT + 2, LIVE_FAILURES, http_get=HttpGet(path, port), why=why)


def open_port(port: int) -> Probe:
    """Return the liveness probe of a gate in front of the server, whose port stays open while a new server warms."""
    why = {
        "tcp_socket": "the gate opens the port once the server is warm and keeps it from then on, also while a server "
        "that has restarted warms anew; /ready says no meanwhile",
    }
    return Probe(LIVE_PERIOD, TIMEOUT + 2, LIVE_FAILURES, tcp_socket=TcpSocket(port), why=why)


def of_server(wanted: Wanted) -> tuple[Probe, Probe, Probe | None]:
    """Return the startup, readiness and liveness probe of the server's own container."""
    path, live = ready_path(wanted), live_path(wanted)
    asks = OWN if wanted.gate_image is None else "the model's own endpoint: loaded; that it is warm the gate says"
    return (
        startup(wanted, path, wanted.port, asks),
        readiness(wanted, path, wanted.port, asks),
        liveness(live, wanted.port) if live else None,
    )


def drain(wanted: Wanted) -> Lifecycle | None:
    """Return the wait before SIGTERM; Knative refuses hooks and drains by itself."""
    if wanted.knative or not wanted.drain_seconds:
        return None
    why = {"pre_stop": "proxies take this long to hear that the pod ends; until then new requests still come"}
    return Lifecycle(Hook(Sleep(wanted.drain_seconds)), why=why)


def grace(wanted: Wanted) -> tuple[int, str]:
    """Return the seconds from a pod's end to SIGKILL, and why."""
    slowest = wanted.measured.slowest_ms
    told = f"{wanted.drain_seconds} s before SIGTERM, and {LEAST_GRACE} s for requests under way"
    if slowest is None or (needed := math.ceil(3 * slowest / 1000)) <= LEAST_GRACE:
        more = "" if slowest is None else f" (the slowest kind measured takes {slowest:,.0f} ms once it is steady)"
        return wanted.drain_seconds + LEAST_GRACE, told + more
    return (
        wanted.drain_seconds + needed,
        f"{wanted.drain_seconds} s before SIGTERM, and three times the slowest kind of request ({slowest:,.0f} ms)",
    )


def deadline(wanted: Wanted) -> tuple[int, str]:
    """Return the seconds after which a rollout counts as failed, and why."""
    budget = wanted.budget.seconds
    seconds = max(DEADLINE, budget + PULL_SECONDS)
    told = f"the startup budget of {budget} s and {PULL_SECONDS} s to schedule, pull and download"
    return seconds, f"{told}; Knative's own is {DEADLINE} s" if seconds > DEADLINE else f"{told} fit in {DEADLINE} s"


def warnings(wanted: Wanted) -> tuple[str, ...]:
    """Return what a person should know before these manifests are applied, a line each."""
    found = []
    seconds, _ = deadline(wanted)
    if seconds > DEADLINE and not wanted.knative:
        found.append(
            f"a rollout may take {seconds} s, and KServe has no field for the progress deadline of {DEADLINE} s: "
            "it may be reported as failed (ProgressDeadlineExceeded), and goes on all the same"
        )
    if wanted.knative and wanted.drain_seconds:
        found.append("Knative refuses preStop and terminationGracePeriodSeconds: it drains for the revision's timeout")
    claims = [p for p in (wanted.samples, wanted.capture, wanted.profile) if p and p.volume and not p.config_map]
    if wanted.knative and any(p.volume and p.volume.persistent_volume_claim for p in claims):
        found.append(
            "Knative takes claims where kubernetes.podspec-persistent-volume-claim is enabled (config-features), and "
            "ones to write to with …-persistent-volume-write"
        )
    if wanted.kind is Kind.ANY and live_path(wanted) is None:
        found.append("no liveness probe is written: --live-path PATH says where the server answers while it lives")
    if wanted.knative and wanted.gate_image is not None:
        found.append(
            "in front of the server the gate is HAProxy under its control: --gate-image has to have haproxy in it"
        )
    return tuple(found)
