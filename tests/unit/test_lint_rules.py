"""Each rule's own examples, as they stand in the documentation, and what rules say of files that are like them."""

from pathlib import Path

import pytest

from kserve_warmup.lint.findings import Knowledge, Severity
from kserve_warmup.lint.lint_run import lint
from kserve_warmup.lint.rule_list import ALL, RULES


def write(folder: Path, files) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)


def found(folder: Path, known=None):
    outcome = lint([str(folder)], known or Knowledge())
    assert outcome.unreadable == ()
    return outcome.findings


def service(container: str, *, annotations: str = "", predictor: str = "") -> dict[str, str]:
    """Return an InferenceService whose container has these lines."""
    lines = "".join(f"        {line}\n" for line in container.splitlines())
    return {
        "service.yaml": "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: digits\n"
        f"  annotations: {{{annotations}}}\nspec:\n  predictor:\n{predictor}    containers:\n"
        f"      - name: kserve-container\n{lines}"
    }


READY = "readinessProbe: {httpGet: {path: /v2/models/digits/ready, port: 8080}}\n"


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.id)
def test_a_rules_failing_example_is_told_and_its_passing_one_is_not(rule, tmp_path):
    write(tmp_path / "failing", rule.failing)
    write(tmp_path / "passing", rule.passing)

    assert rule.id in {f.rule for f in found(tmp_path / "failing", rule.known)}
    assert [f for f in found(tmp_path / "passing", rule.known) if f.severity > Severity.INFO] == []


def test_every_rule_has_a_name_of_its_own():
    assert len(RULES) == len(ALL)


def test_a_finding_stands_at_the_line_and_column_of_what_it_is_about(tmp_path):
    write(tmp_path, service("image: x\nreadinessProbe:\n  tcpSocket:\n    port: 8080"))
    [finding] = found(tmp_path)
    line = (tmp_path / "service.yaml").read_text().splitlines()[finding.position.line - 1]
    assert line[finding.position.column - 1 :] == "tcpSocket:"


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/health/live"])
def test_a_server_wide_probe_of_an_unknown_server_is_told(path, tmp_path):
    write(tmp_path, service(f"image: x\nreadinessProbe: {{httpGet: {{path: {path}, port: 8080}}}}"))
    assert [f.rule for f in found(tmp_path)] == ["probe-server-wide"]


@pytest.mark.parametrize(
    ("image", "arguments", "rules"),
    [
        ("nvcr.io/nvidia/tritonserver:24.08", "[tritonserver, --model-store=/mnt/models]", []),
        ("nvcr.io/nvidia/tritonserver:24.08", "[tritonserver, --strict-readiness=false]", ["probe-server-wide"]),
        ("seldonio/mlserver:1.5.0", "[]", []),
        ("kserve/pmmlserver", "[--model_name=digits]", ["probe-server-wide"]),
        ("openvino/model_server", "[]", []),
    ],
)
def test_servers_that_ask_their_models_may_be_asked_as_a_whole(image, arguments, rules, tmp_path):
    probe = "readinessProbe: {httpGet: {path: /v2/health/ready, port: 8080}}"
    write(tmp_path, service(f"image: {image}\nargs: {arguments}\n{probe}"))
    assert [f.rule for f in found(tmp_path)] == rules


@pytest.mark.parametrize(
    ("mode", "severity"), [("", Severity.INFO), ("--model-control-mode=explicit", Severity.WARNING)]
)
def test_triton_without_a_probe_is_told_as_far_as_it_opens_its_port_before_it_is_warm(mode, severity, tmp_path):
    write(tmp_path, service(f'image: tritonserver\nargs: [tritonserver, "{mode}"]'))
    [finding] = found(tmp_path)
    assert (finding.rule, finding.severity) == ("probe-missing", severity)


def test_a_models_probe_comes_from_its_runtime_wherever_that_is_among_the_files(tmp_path):
    runtime = RULES["probe-missing"].passing["runtime.yaml"]
    text = RULES["runtime-unseen"].failing["service.yaml"].replace("    model:\n", "    model:\n      runtime: ours\n")
    write(tmp_path, {"a.yaml": text, "b.yaml": runtime})
    assert found(tmp_path) == ()


def test_a_runtime_that_is_chosen_by_itself_counts_by_its_formats(tmp_path):
    formats = "  supportedModelFormats: [{name: sklearn, autoSelect: true}]\n"
    runtime = RULES["probe-missing"].passing["runtime.yaml"] + formats
    write(tmp_path, {"a.yaml": RULES["runtime-unseen"].failing["service.yaml"], "b.yaml": runtime})
    assert found(tmp_path) == ()


@pytest.mark.parametrize(("seconds", "rules"), [(25, []), (31, ["startup-budget"])])
def test_a_startup_probe_without_figures_gives_thirty_seconds(seconds, rules, tmp_path):
    write(tmp_path, service(f"image: x\n{READY}startupProbe: {{httpGet: {{port: 8080}}}}"))
    assert [f.rule for f in found(tmp_path, Knowledge((seconds,), "report.json"))] == rules


@pytest.mark.parametrize(
    ("mode", "deadline", "rules"),
    [
        ("Knative", "", ["progress-deadline"]),
        ("Standard", "", []),
        ("Knative", "serving.knative.dev/progress-deadline: 1h", []),
        ("Knative", "serving.knative.dev/progress-deadline: 11m39s", ["progress-deadline"]),
    ],
)
def test_a_rollout_has_to_last_as_long_as_a_start_on_knative(mode, deadline, rules, tmp_path):
    write(tmp_path, service(f"image: x\n{READY}", annotations=f"serving.kserve.io/deploymentMode: {mode}, {deadline}"))
    assert [f.rule for f in found(tmp_path, Knowledge((700.0,), "report.json"))] == rules


def test_scaling_to_zero_is_left_alone_where_something_else_plans(tmp_path):
    zero = "    minReplicas: 0\n"
    write(tmp_path, service(f"image: x\n{READY}", predictor=zero))
    assert [f.rule for f in found(tmp_path)] == ["scale-to-zero"]
    write(
        tmp_path, service(f"image: x\n{READY}", predictor=zero, annotations="serving.kserve.io/autoscalerClass: keda")
    )
    assert found(tmp_path) == ()


def test_workers_that_are_warmed_are_not_told(tmp_path):
    write(tmp_path, service(f"image: kserve/sklearnserver\nargs: [--workers, '4']\n{READY}"))
    assert [f.rule for f in found(tmp_path)] == ["workers-cold"]
    command = "command: [kserve-warmup, serve, 'predictor:Model']"
    write(tmp_path, service(f"image: x\n{command}\nargs: [--workers, '4']\n{READY}"))
    assert found(tmp_path) == ()


def test_each_block_is_told_in_its_own_place_whether_written_alone_or_as_a_list(tmp_path):
    inputs = 'inputs { key: "X" value { data_type: TYPE_FP32 dims: [ 1 ] zero_data: true } }'
    blocks = (
        f'model_warmup [\n  {{ name: "a" batch_size: 1 count: 2 {inputs} }},\n  {{ name: "b" count: 2 {inputs} }}\n]\n'
    )
    alone = f'model_warmup {{\n  name: "c" # batch_size: 4\n  count: 2 batch_size: 0 {inputs} }}\n'
    write(tmp_path, {"m/config.pbtxt": 'backend: "python"\nmax_batch_size: 0\n' + blocks + alone})
    told = [(f.rule, f.position.line, f.position.column) for f in found(tmp_path)]
    assert told == [("triton-batch-zero", 5, 3), ("triton-batch-zero", 9, 12)]


def test_a_file_that_is_too_long_is_a_warning_and_a_missing_one_an_error(tmp_path):
    rule = RULES["triton-file-size"]
    files = {**rule.passing, "digits/warmup/x.bin": bytes(9)}
    write(tmp_path, files)
    [finding] = found(tmp_path)
    assert finding.severity is Severity.WARNING
    (tmp_path / "digits/warmup/x.bin").unlink()
    [finding] = found(tmp_path)
    assert (finding.rule, finding.severity) == ("triton-file-size", Severity.ERROR)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("RUN kserve-warmup bake p:P --samples w\n", False),
        ("RUN kserve-warmup bake p:P --samples w && \\\n  # the cache\n  chmod -R a+w /opt/warm\nUSER 7", True),
        ("RUN kserve-warmup bake p:P --samples w && chmod -R go-w /opt/warm\nUSER 7", False),
        ("RUN kserve-warmup bake p:P --out /warm --samples w\nRUN chown -R 7 /warm\nUSER 7", True),
        ("RUN chown -R root:root /opt/warm\nUSER 7", False),
        ("ENV KSERVE_WARMUP_CACHE_TRUST=writable", True),
        ("USER 7\nRUN kserve-warmup bake p:P --samples w\nUSER 8", False),
        ("RUN <<EOF\nkserve-warmup bake p:P --samples w\nchown -R 7 /opt/warm\nEOF\nUSER 7", True),
    ],
)
def test_caches_are_told_that_the_server_may_write(lines, told, tmp_path):
    write(tmp_path, {"Dockerfile": f"FROM python:3.12\n{lines}\n"})
    assert [f.rule for f in found(tmp_path)] == (["cache-writable"] if told else [])


MESH = {
    "mode": service("image: x", annotations="serving.kserve.io/deploymentMode: ModelMesh"),
    "runtime": {
        "runtime.yaml": "apiVersion: serving.kserve.io/v1alpha1\nkind: ServingRuntime\nmetadata: {name: ovms}\n"
        "spec:\n  containers:\n    - {name: ovms, image: openvino/model_server}\n  builtInAdapter: {serverType: ovms}\n"
    },
}

MESH["several models"] = {
    "runtime.yaml": MESH["runtime"]["runtime.yaml"].replace("name: ovms,", "name: kserve-container,")
    + "  multiModel: true\n"
}


@pytest.mark.parametrize("files", MESH.values(), ids=MESH)
def test_what_modelmesh_runs_is_passed_over(files, tmp_path):
    write(tmp_path, files)
    assert found(tmp_path) == ()


@pytest.mark.parametrize("mode", ["", "serving.kserve.io/deploymentMode: Knative"])
def test_of_several_containers_the_one_with_the_port_is_asked_for_a_probe_wherever_knative_may_run_it(mode, tmp_path):
    side = "image: x\n"
    files = service(side, annotations=mode)
    files["service.yaml"] += (
        "      - name: transformer-container\n        image: y\n        ports: [{containerPort: 8080}]\n"
    )
    write(tmp_path, files)
    [finding] = found(tmp_path)
    assert (finding.rule, finding.position.line) == ("probe-missing", 11)


def test_a_runtimes_startup_probe_holds_a_models_liveness_probe_off(tmp_path):
    runtime = RULES["probe-missing"].passing["runtime.yaml"]
    live = "    model:\n      runtime: ours\n      livenessProbe: {httpGet: {path: /v2/health/live, port: 8080}}\n"
    text = RULES["runtime-unseen"].failing["service.yaml"].replace("    model:\n", live)
    write(tmp_path, {"a.yaml": text, "b.yaml": runtime})
    assert [f.rule for f in found(tmp_path)] == ["liveness-kills-warmup"]
    startup = "      startupProbe: {httpGet: {path: /ready, port: 8080}, failureThreshold: 30}\n"
    write(tmp_path, {"b.yaml": runtime + startup})
    assert found(tmp_path) == ()


GATE = """\
      - name: gate
        image: registry/gate
        command: [kserve-warmup, gate]
        args: ["http://localhost:8080", --samples=/samples]
        readinessProbe: {httpGet: {path: /ready, port: 8085}}
"""


@pytest.mark.parametrize("probe", ["", "readinessProbe: {tcpSocket: {port: 8080}}"])
def test_a_gate_with_a_probe_holds_the_whole_pod_so_the_servers_own_is_not_told(probe, tmp_path):
    files = service(f"image: x\n{probe}", annotations="serving.kserve.io/deploymentMode: Standard")
    write(tmp_path, files)
    assert len(found(tmp_path)) == 1
    write(tmp_path, {"service.yaml": files["service.yaml"] + GATE})
    assert found(tmp_path) == ()
    unprobed = "".join(line for line in GATE.splitlines(keepends=True) if "Probe" not in line)
    write(tmp_path, {"service.yaml": files["service.yaml"] + unprobed})
    assert len(found(tmp_path)) == 1
