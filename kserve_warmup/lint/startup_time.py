"""Rules about the time that a start is given: by the startup and liveness probes, and by the rollout."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kserve_warmup.lint.findings import Knowledge, Problem, Rule, Severity
from kserve_warmup.lint.serving_objects import Container
from kserve_warmup.lint.yaml_nodes import Place

DEADLINE = 600
"""Seconds until a rollout without an own deadline counts as failed, Knative's and a Deployment's."""

WARMUP_SECONDS = 60
"""What a warm-up may take by itself: KSERVE_WARMUP_MAX_SECONDS is 60 unless it is set."""

ANNOTATION = "serving.knative.dev/progress-deadline"


def patience(probe: Place) -> int:
    """Return the seconds until a probe that hears only no is given up; Kubernetes' defaults where nothing is said."""
    failures = max(1, probe["failureThreshold"].number(3))
    return probe["initialDelaySeconds"].number(0) + failures * max(1, probe["periodSeconds"].number(10))


def budget(container: Container, known: Knowledge) -> Iterator[Problem]:
    """Yield a problem if the startup probe ends a container sooner than starts were measured to take."""
    probe = container.place["startupProbe"]
    if probe and known.needed is not None and patience(probe) < known.needed:
        said = f"the startup probe ends a start after {patience(probe)} s, and {known.told}; give it twice as long"
        yield Problem(probe.position, said)


def _pod(probes: str) -> dict[str, str]:
    return {
        "service.yaml": f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: digits}}
spec:
  predictor:
    containers:
      - name: kserve-container
        image: registry/digits
        readinessProbe:
          httpGet: {{path: /v2/models/digits/ready, port: 8080}}
{probes}"""
    }


_STARTUP = "        startupProbe:\n          httpGet: {path: /v2/models/digits/ready, port: 8080}\n"
_MEASURED = Knowledge((74.0,), "report.json")

BUDGET = Rule(
    "startup-budget",
    Severity.ERROR,
    "the startup probe ends a start that was measured to need longer",
    """With `--report FILE`: the measured time to ready against `initialDelaySeconds` + `failureThreshold` times
`periodSeconds` (Kubernetes' defaults: 0, 3 and 10). A warm-up that is cut off is lost, and the next start is no
quicker.""",
    budget,
    failing=_pod(_STARTUP),
    passing=_pod(_STARTUP + "          failureThreshold: 15\n"),
    known=_MEASURED,
)


def liveness(container: Container, known: Knowledge) -> Iterator[Problem]:
    """Yield a problem if a liveness probe begins before the model is warm and may end the start."""
    probe = container.place["livenessProbe"]
    if not probe or container.probe("startupProbe") or not container.resolved:
        return
    given = patience(probe)
    how = "add a startupProbe, which holds the liveness probe off until the model is warm"
    if known.needed is not None:
        if given < known.needed:
            said = (
                f"the liveness probe restarts the container after {given} s without an answer, and {known.told}; {how}"
            )
            yield Problem(probe.position, said, severity=Severity.ERROR)
    elif given < WARMUP_SECONDS:
        said = (
            f"the liveness probe restarts a container that does not answer within {given} s of its start, and a "
            f"warm-up may take {WARMUP_SECONDS} s; {how}"
        )
        yield Problem(probe.position, said)


LIVENESS = Rule(
    "liveness-kills-warmup",
    Severity.WARNING,
    "a liveness probe without a startup probe can restart the container while it warms",
    """A server's port is closed while it loads and warms, and a liveness probe takes that for a failure. A
`startupProbe` holds it off. Without `--report` a probe is told that gives less than 60 s, what a warm-up may
take by itself; with it, one that gives less than what was measured, as an error.""",
    liveness,
    failing=_pod("        livenessProbe:\n          httpGet: {path: /v2/health/live, port: 8080}\n"),
    passing=_pod(
        "        livenessProbe:\n          httpGet: {path: /v2/health/live, port: 8080}\n"
        + _STARTUP
        + "          failureThreshold: 30\n"
    ),
)


def deadline(container: Container, known: Knowledge) -> Iterator[Problem]:
    """Yield a problem if the rollout is given up before the model can be ready."""
    given = container.owner.annotation(ANNOTATION, container.component)
    startup = container.probe("startupProbe")
    if not given and not container.owner.knative:
        return
    seconds = _seconds(given.text) if given else DEADLINE
    if seconds is None:
        return
    place = given or container.place
    what = (
        f"the progress deadline is {seconds:.0f} s"
        if given
        else f"Knative's progress deadline is {DEADLINE} s unless {ANNOTATION} says more"
    )
    if known.needed is not None and seconds < known.needed:
        yield Problem(
            place.position, f"{what}, and {known.told}: the revision counts as failed", severity=Severity.ERROR
        )
    elif startup and seconds < patience(startup):
        yield Problem(
            place.position,
            f"{what}, and the startup probe alone may take {patience(startup)} s: the revision fails first; raise the "
            "deadline",
        )


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _seconds(duration: str) -> float | None:
    """Return the seconds of a duration as Go writes it (``1h30m``), None if it is none."""
    if not re.fullmatch(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+", duration):
        return None
    return sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)(h|ms|m|s)", duration))


_DEADLINE_EXAMPLE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  annotations:
    serving.kserve.io/deploymentMode: Knative
    serving.knative.dev/progress-deadline: {deadline}
spec:
  predictor:
    containers:
      - name: kserve-container
        image: registry/digits
        readinessProbe:
          httpGet: {{path: /v2/models/digits/ready, port: 8080}}
        startupProbe:
          httpGet: {{path: /v2/models/digits/ready, port: 8080}}
          failureThreshold: 30
"""

PROGRESS = Rule(
    "progress-deadline",
    Severity.WARNING,
    "the rollout is given up before the model can be ready",
    """Knative takes a revision for failed that is not ready within `serving.knative.dev/progress-deadline` (600 s by
default). It is compared with what was measured (`--report`, an error), or else with the startup probe's budget.
A Deployment's deadline, which KServe has no field for, ends nothing and is not told.""",
    deadline,
    failing={"service.yaml": _DEADLINE_EXAMPLE.format(deadline="2m")},
    passing={"service.yaml": _DEADLINE_EXAMPLE.format(deadline="10m")},
)
