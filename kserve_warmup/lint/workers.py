"""The rule about worker processes that nobody warms."""

from __future__ import annotations

import re
from collections.abc import Iterator

from kserve_warmup.lint.findings import Knowledge, Position, Problem, Rule, Severity
from kserve_warmup.lint.server_types import ServerType
from kserve_warmup.lint.serving_objects import Container
from kserve_warmup.lint.yaml_nodes import Place


def check(container: Container, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if a KServe server with plain models has several workers."""
    if container.kind is not ServerType.KSERVE or container.warms_up:
        return
    found = _workers(container)
    if found is not None:
        number, position = found
        yield Problem(
            position,
            f"{number} workers of {container.kind.value}: those that are spawned warm nothing "
            "before they take requests; use WarmupModel (kserve-warmup serve), which warms each, or one worker",
        )


def _workers(container: Container) -> tuple[int, Position] | None:
    words = [*container.place["command"], *container.place["args"]]
    for word, following in zip(words, [*words[1:], Place()], strict=False):
        text = word.text
        if text == "--workers":
            text = f"--workers={following.text}"
        match = re.fullmatch(r"--workers[= ](\d{1,6})", text)
        if match and int(match[1]) > 1:
            return int(match[1]), word.position
    return None


def _runtime(workers: int) -> dict[str, str]:
    return {
        "runtime.yaml": f"""\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {{name: ours}}
spec:
  containers:
    - name: kserve-container
      image: kserve/sklearnserver
      args: ["--model_name={{{{.Name}}}}", --workers={workers}]
      readinessProbe:
        httpGet: {{path: "/v2/models/{{{{.Name}}}}/ready", port: 8080}}
"""
    }


RULE = Rule(
    "workers-cold",
    Severity.WARNING,
    "several workers of a plain KServe server",
    """With `--workers` above 1 KServe spawns processes that get the model pickled, `ready` included: what the first
process did to warm up is not in them. A container that names kserve-warmup (command, arguments or a
`KSERVE_WARMUP_*` variable) is not told.""",
    check,
    failing=_runtime(4),
    passing=_runtime(1),
)
