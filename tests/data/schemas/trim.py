"""Make the schemas of this folder anew, from clones of kserve/kserve and knative/serving: trim.py KSERVE KNATIVE."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

KSERVE, KNATIVE = "aaac4e294dae2c7b1aa1886447793f3aa1c30912", "98e5ef90aa7033797aa0a61ef97f3ff7e49a3944"
OTHER_PREDICTORS = (
    *("huggingface", "lightgbm", "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow", "triton", "xgboost"),
    "workerSpec",
)


def schema(clone, commit, path, version):
    text = subprocess.run(["git", "-C", clone, "show", f"{commit}:{path}"], capture_output=True, check=True).stdout
    versions = yaml.load(text, Loader=yaml.CSafeLoader)["spec"]["versions"]
    return bare(next(v for v in versions if v["name"] == version)["schema"]["openAPIV3Schema"])


def bare(node):
    """Return a schema without descriptions; a property may have that name too."""
    if isinstance(node, list):
        return [bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: value for key, value in node.items() if key != "description" or not isinstance(value, str)}
    return {
        key: {n: bare(v) for n, v in value.items()} if key == "properties" else bare(value)
        for key, value in kept.items()
    }


def without(properties, *names):
    for name in names:
        del properties[name]


def save(name, content):
    Path(__file__).with_name(f"{name}.json").write_text(
        json.dumps(content, separators=(",", ":"), sort_keys=True) + "\n"
    )


kserve, knative = sys.argv[1:]
runtime = schema(kserve, KSERVE, "config/crd/full/serving.kserve.io_servingruntimes.yaml", "v1alpha1")
of_cluster = schema(kserve, KSERVE, "config/crd/full/serving.kserve.io_clusterservingruntimes.yaml", "v1alpha1")
assert runtime["properties"]["spec"] == of_cluster["properties"]["spec"], "one file stands for both"
without(runtime["properties"]["spec"]["properties"], "workerSpec")
save("servingruntime", runtime)
service = schema(kserve, KSERVE, "config/crd/full/serving.kserve.io_inferenceservices.yaml", "v1beta1")
without(service["properties"], "status")
without(service["properties"]["spec"]["properties"], "canary", "explainer", "transformer")
without(service["properties"]["spec"]["properties"]["predictor"]["properties"], *OTHER_PREDICTORS)
save("inferenceservice", service)
revision = schema(knative, KNATIVE, "config/core/300-resources/service.yaml", "v1")
without(revision["properties"], "status")
save("knative-service", revision)
