"""What a cluster would refuse: KServe's and Knative's own schemas, strictly, and Kubernetes' by kubernetes-validate."""

import copy
import json
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate

SCHEMAS = Path(__file__).parents[1] / "data" / "schemas"
KUBERNETES = "1.37"
OF_KIND = {
    "ServingRuntime": "servingruntime",
    "ClusterServingRuntime": "servingruntime",
    "InferenceService": "inferenceservice",
    "Service": "knative-service",
}


@cache
def validator(name):
    schema = strict(json.loads((SCHEMAS / f"{name}.json").read_text()))
    schema["properties"]["metadata"] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
            "namespace": {"type": "string"},
            "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
    return jsonschema.Draft202012Validator(schema)


def strict(node):
    """Return an OpenAPI schema as JSON Schema that refuses unknown fields, as an API server does with strict checks."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: strict(value) for key, value in node.items()}
    if node.get("x-kubernetes-int-or-string"):
        made.pop("anyOf", None)
        return made | {"type": ["integer", "string"]}
    free = node.get("x-kubernetes-preserve-unknown-fields")
    if isinstance(node.get("properties"), dict) and not free and "additionalProperties" not in node:
        made["additionalProperties"] = False
    return made


def problems(document):
    """Return what an API server would say of a document; nothing when it takes it."""
    if document["kind"] in OF_KIND:
        found = validator(OF_KIND[document["kind"]]).iter_errors(document)
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:200]}" for error in found]
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [str(error)]
    return []


def pod(runtime, service):
    """Return the pod that KServe makes of both, as far as the fields that are written here go."""
    spec, predictor = copy.deepcopy(runtime["spec"]), service["spec"]["predictor"]
    model = predictor["model"]
    server = next(c for c in spec["containers"] if c["name"] == "kserve-container")
    server.setdefault("env", []).extend(model.get("env", []))
    server.setdefault("volumeMounts", []).extend(model.get("volumeMounts", []))
    filled = json.loads(json.dumps(server).replace("{{.Name}}", service["metadata"]["name"]))
    made = {"containers": [filled, *(c for c in spec["containers"] if c is not server)]}
    made["volumes"] = [*spec.get("volumes", []), *predictor.get("volumes", [])]
    if "terminationGracePeriodSeconds" in predictor:
        made["terminationGracePeriodSeconds"] = predictor["terminationGracePeriodSeconds"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "made"}, "spec": made}


def knative_service(runtime, service):
    """Return the Knative service that KServe makes of both."""
    template = {
        "metadata": {"annotations": runtime["spec"].get("annotations", {})},
        "spec": pod(runtime, service)["spec"],
    }
    name = service["metadata"]["name"]
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"template": template},
    }


def knative_refuses(document):
    """Return what Knative's webhook refuses beyond its schema (pkg/apis/serving/k8s_validation.go), by default."""
    containers = document["spec"]["template"]["spec"]["containers"]
    ports = [(c["name"], p["containerPort"]) for c in containers for p in c.get("ports", [])]
    if len(ports) != 1:
        return [f"{len(ports)} container ports, where one is allowed"]
    found = []
    for container in containers:
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(kind)
            if probe and container["name"] != ports[0][0]:
                found.append(f"{container['name']}: {kind} of a container without the port")
            if probe and next(probe[k]["port"] for k in ("httpGet", "tcpSocket") if k in probe) != ports[0][1]:
                found.append(f"{container['name']}: {kind} asks another port")
    return found


def unrestricted(made):
    """Return what Kubernetes' "restricted" pod security profile refuses of a pod."""
    found = []
    for container in made["spec"]["containers"]:
        context = container.get("securityContext", {})
        wanted = {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        found += [f"{container['name']}: {key}" for key, value in wanted.items() if context.get(key) != value]
        if "runAsUser" in context:
            found.append(f"{container['name']}: a fixed user id")
    return found
