"""The rule about probes that Knative refuses."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_warmup.lint.findings import Knowledge, Problem, Rule, Severity
from kserve_warmup.lint.serving_objects import ServingObject, has_model, serving_containers
from kserve_warmup.lint.yaml_nodes import Place


def check(service: ServingObject, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem for each probe of a side container, where the object says that it runs on Knative."""
    if not service.knative:
        return
    for _name, pod in service.pods():
        for container in _beside(pod):
            for kind in ("readinessProbe", "livenessProbe", "startupProbe"):
                if probe := container[kind]:
                    yield Problem(
                        probe.position,
                        f"Knative refuses the {kind} of a container beside the one with the port, unless "
                        "multi-container-probing is enabled in config-features: let "
                        "kserve-warmup gate hold the pod's one port, or warm up in the server (WarmupModel)",
                    )


def _beside(pod: Place) -> list[Place]:
    """Return the containers without the one that Knative sends requests to: it has the port, or KServe's name."""
    containers = list(pod["containers"])
    if has_model(pod):
        return containers
    if len(containers) < 2:  # noqa: PLR2004  (alone, it is the server)
        return []
    main = serving_containers(pod, knative=True) or containers
    return [c for c in containers if c.node is not main[0].node]


def _service(mode: str) -> dict[str, str]:
    return {
        "service.yaml": f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  annotations: {{serving.kserve.io/deploymentMode: {mode}}}
spec:
  predictor:
    containers:
      - name: kserve-container
        image: registry/digits
        ports: [{{containerPort: 8080}}]
        readinessProbe:
          httpGet: {{path: /v2/models/digits/ready, port: 8080}}
      - name: gate
        image: registry/gate
        readinessProbe:
          httpGet: {{path: /ready, port: 8085}}
"""
    }


RULE = Rule(
    "knative-side-probe",
    Severity.ERROR,
    "a side container's probe, which Knative refuses",
    """`multi-container-probing` is disabled by default in Knative's `config-features`: a revision with a probe on a
container beside the one with the port is refused. Told where the object says that it runs on Knative
(`serving.kserve.io/deploymentMode: Knative` or `Serverless`).""",
    check,
    failing=_service("Knative"),
    passing=_service("Standard"),
)
