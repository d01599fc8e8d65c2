"""The rule about components that scale to zero."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_warmup.lint.findings import Knowledge, Problem, Rule, Severity
from kserve_warmup.lint.serving_objects import ServingObject

_MIN_SCALE = ("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale")
_PLANNED = {"external", "keda"}


def check(service: ServingObject, known: Knowledge) -> Iterator[Problem]:
    """Yield a problem for each component that may have no replica."""
    if service.annotation("serving.kserve.io/autoscalerClass").text in _PLANNED:
        return
    waits = f"; {known.told}" if known.needed is not None else ""
    for name in service.components:
        component = service.place["spec"][name]
        found = component["minReplicas"]
        if not found:
            found = next((a for key in _MIN_SCALE if (a := service.annotation(key, name))), found)
        if found and found.number(1) == 0:
            yield Problem(
                found.position,
                f"{name} may scale to zero, and then a request waits for a whole start{waits}: set minReplicas to 1 or "
                "more, or say by 'kserve-warmup: ignore=scale-to-zero' that this is meant",
            )


def _service(replicas: int) -> dict[str, str]:
    return {
        "service.yaml": f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: digits}}
spec:
  predictor:
    minReplicas: {replicas}
    containers:
      - name: kserve-container
        image: registry/digits
        readinessProbe:
          httpGet: {{path: /v2/models/digits/ready, port: 8080}}
"""
    }


RULE = Rule(
    "scale-to-zero",
    Severity.WARNING,
    "a component may have no replica at all",
    """With `minReplicas: 0` the first request after a quiet time waits until a replica is scheduled, loaded and warm.
Objects with `serving.kserve.io/autoscalerClass: keda` or `external` are not told: there something else plans.
Where it is meant, say so in a comment.""",
    check,
    failing=_service(0),
    passing=_service(1),
)
