"""Rules about what the readiness probe asks."""

from __future__ import annotations

from collections.abc import Iterator

from kserve_warmup.lint.findings import Edit, Knowledge, Problem, Rule, Severity
from kserve_warmup.lint.server_types import ServerType, model_path, opens_port_when_ready, says_yes_while_cold
from kserve_warmup.lint.serving_objects import Container
from kserve_warmup.lint.yaml_nodes import Place

_HANDLERS = ("httpGet", "grpc", "exec")


def advice(container: Container) -> str:
    """Return what to probe instead."""
    path = model_path(container.kind, container.words)
    if path:
        return f"probe {path}"
    if container.kind is ServerType.KSERVE:
        name = "{{.Name}}" if container.owner.is_runtime else "NAME"
        return f"probe /v2/models/{name}/ready"
    if container.kind in (ServerType.TRITON, ServerType.MLSERVER, ServerType.OPENVINO):
        return "probe /v2/models/NAME/ready with the model's name on the server"
    if container.kind is ServerType.VLLM:
        return "probe /health, which answers once the engine runs, or let kserve-warmup gate say when it is warm"
    if container.kind in (ServerType.TENSORFLOW, ServerType.TORCHSERVE):
        return "let kserve-warmup gate say when the model is warm: no endpoint of the server's own does"
    return "probe what says that the model is ready, such as /v2/models/NAME/ready, or let kserve-warmup gate say it"


def _port_only(container: Container) -> str:
    if opens_port_when_ready(container.kind, container.words):
        return (
            "Triton opens it once the models are loaded and their model_warmup is done, and a later reload goes unseen"
        )
    return "which says yes when the port opens, whether the model is warm or not"


def _milder(container: Container) -> Severity | None:
    return Severity.INFO if opens_port_when_ready(container.kind, container.words) else None


def missing(container: Container, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if the container has no readiness probe, and no runtime that could give it one."""
    if container.place["readinessProbe"] or container.gated or container.runtime or container.model_format:
        return
    what = f"no readinessProbe: KServe asks TCP port {container.port}, {_port_only(container)}"
    if container.owner.knative:
        what = f"no readinessProbe: Knative asks TCP, {_port_only(container)}"
    yield Problem(container.place.position, f"{what}; {advice(container)}", severity=_milder(container))


MISSING = Rule(
    "probe-missing",
    Severity.WARNING,
    "the serving container has no readiness probe",
    """KServe then gives it a TCP probe of the first port, or 8080 (`deployment_reconciler.go`, `setDefaultPodSpec`),
and so does Knative's queue-proxy. A port that is open says nothing of the model: the replica gets requests
while it is cold. Triton is told as info only: unless `--model-control-mode` is set it opens no port before its
models are loaded and warm. A probe alone warms nothing: WarmupModel, `model_warmup` or the gate does, and the
probe tells it. A pod with a `kserve-warmup gate` that has a probe of its own is not told: it is ready once all
of its containers are.""",
    missing,
    failing={
        "runtime.yaml": """\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: ours}
spec:
  containers:
    - name: kserve-container
      image: kserve/sklearnserver
      args: ["--model_name={{.Name}}", --model_dir=/mnt/models]
"""
    },
    passing={
        "runtime.yaml": """\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: ours}
spec:
  containers:
    - name: kserve-container
      image: kserve/sklearnserver
      args: ["--model_name={{.Name}}", --model_dir=/mnt/models]
      readinessProbe:
        httpGet: {path: "/v2/models/{{.Name}}/ready", port: 8080}
"""
    },
)


def unseen(container: Container, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if the probe is a runtime's, and that is not among the files."""
    if container.place["readinessProbe"] or container.gated or container.resolved:
        return
    whose = (
        f"runtime {container.runtime}"
        if container.runtime
        else f"the runtime that the cluster has for {container.model_format}"
    )
    yield Problem(
        container.place.position,
        f"no readinessProbe here, so it is that of {whose}, which is not among these files: lint it too (most of those "
        "that KServe installs have none)",
    )


UNSEEN = Rule(
    "runtime-unseen",
    Severity.INFO,
    "the probe comes from a runtime that was not linted",
    """An InferenceService with `model:` has the probes of its runtime, unless it sets its own. Name the runtime's file
on the same command line, and the rules look at both. Of the ClusterServingRuntimes that KServe installs, most
have no probe at all.""",
    unseen,
    failing={
        "service.yaml": """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: digits}
spec:
  predictor:
    model:
      modelFormat: {name: sklearn}
      storageUri: gs://models/digits
"""
    },
    passing={
        "service.yaml": """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: digits}
spec:
  predictor:
    model:
      modelFormat: {name: sklearn}
      storageUri: gs://models/digits
      readinessProbe:
        httpGet: {path: /v2/models/digits/ready, port: 8080}
"""
    },
)


def tcp(container: Container, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if the readiness probe asks for a port alone."""
    probe = container.place["readinessProbe"]
    handler = probe["tcpSocket"]
    if not probe or container.gated or any(probe[name] for name in _HANDLERS):
        return
    place = handler or probe
    said = f"the readiness probe asks for an open port, {_port_only(container)}; {advice(container)}"
    yield Problem(place.position, said, _as_http(container, handler), severity=_milder(container))


def _as_http(container: Container, handler: Place) -> tuple[Edit, ...]:
    """Return the edits that ask the model on the same port; none where its name or the layout is not known."""
    path = model_path(container.kind, container.words)
    port = handler["port"]
    if not path or not port or handler.keys() != ["port"]:
        return ()
    key = handler.key.start_mark.index
    text = f'path: "{path}"'
    after = "\n" + " " * (port.position.column - 1) if not handler.node.flow_style else ", "
    begin = port.position.index
    return (Edit(key, handler.key.end_mark.index, "httpGet"), Edit(begin, begin, text + after))


TCP = Rule(
    "probe-tcp",
    Severity.WARNING,
    "the readiness probe asks for an open port",
    """A port is open before the model is warm. `--fix` turns the probe of a KServe Python server whose arguments tell
the model's name into one of the model's own endpoint. Triton is told as info only, see
[probe-missing](#probe-missing).""",
    tcp,
    failing={
        "service.yaml": """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: digits}
spec:
  predictor:
    containers:
      - name: kserve-container
        image: registry/digits
        readinessProbe:
          tcpSocket:
            port: 8080
"""
    },
    passing={
        "service.yaml": """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: digits}
spec:
  predictor:
    containers:
      - name: kserve-container
        image: registry/digits
        readinessProbe:
          httpGet: {path: /v2/models/digits/ready, port: 8080}
"""
    },
)


def server_wide(container: Container, _: Knowledge) -> Iterator[Problem]:
    """Yield a problem if the readiness probe asks an endpoint that says yes whatever the model does."""
    path = container.place["readinessProbe"]["httpGet"]["path"]
    if not path or container.gated or not says_yes_while_cold(container.kind, path.text, container.words):
        return
    better = model_path(container.kind, container.words)
    edits = (Edit(*path.span, f'"{better}"'),) if better else ()
    said = f"{path.text} of {container.kind.value} says yes before the model is warm; {advice(container)}"
    if container.kind is ServerType.UNKNOWN:
        said = (
            f"{path.text} tells of the server and not of the model: KServe's own says yes at once; {advice(container)}"
        )
    yield Problem(path.position, said, edits)


SERVER_WIDE = Rule(
    "probe-server-wide",
    Severity.WARNING,
    "the readiness probe asks the server and not the model",
    """`/v2/health/ready`, `/v2/health/live`, `/` and `/v1/models` of KServe's Python servers say yes whatever the
model does (`protocol/dataplane.py`). Triton, MLServer and OpenVINO Model Server ask their models for
`/v2/health/ready`, and vLLM answers once its engine runs: these are not told, but for Triton with
`--strict-readiness=false`. `--fix` writes the model's endpoint where the arguments tell its name.""",
    server_wide,
    failing={
        "runtime.yaml": """\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: ours}
spec:
  containers:
    - name: kserve-container
      image: kserve/sklearnserver
      args: ["--model_name={{.Name}}"]
      readinessProbe:
        httpGet: {path: /v2/health/ready, port: 8080}
"""
    },
    passing={
        "runtime.yaml": """\
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: ours}
spec:
  containers:
    - name: kserve-container
      image: nvcr.io/nvidia/tritonserver
      args: [tritonserver, --model-store=/mnt/models, --http-port=8080]
      readinessProbe:
        httpGet: {path: /v2/health/ready, port: 8080}
"""
    },
)
