"""The lint as it is used: what it prints and ends with, what it passes over, what comments allow, and what it mends."""

import json
import stat
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from kserve_warmup.cli import main
from kserve_warmup.lint.rule_list import RULES

RUNTIME = RULES["probe-missing"].failing["runtime.yaml"]
TEMPLATE = "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\n{{- if .Values.on }}\nmetadata:\n{{ end }}\n"


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(["lint", *map(str, arguments)])
    return ended.value.code or 0


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runtime.yaml").write_text(RUNTIME)
    return tmp_path / "runtime.yaml"


def test_a_finding_is_one_line_with_its_place_and_ends_with_1(runtime, capsys):
    assert run(runtime.name) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("runtime.yaml:6:7: warning: no readinessProbe")
    assert first.endswith("(probe-missing)")
    assert last == "1 files: 1 warning"


@pytest.mark.parametrize(("severity", "code"), [("error", 0), ("warning", 1), ("info", 1), ("never", 0)])
def test_how_bad_a_finding_must_be_is_the_persons_choice(runtime, severity, code):
    assert run(runtime, "--severity", severity) == code


def test_what_is_no_manifest_of_kserves_is_passed_over(tmp_path, capsys):
    (tmp_path / "other.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\n")
    (tmp_path / "broken.yaml").write_text("{{ a template of something else }}: [")
    (tmp_path / "values.json").write_text("{")
    (tmp_path / "graph.yaml").write_text("apiVersion: serving.kserve.io/v1alpha1\nkind: InferenceGraph\n")
    assert run(tmp_path) == 0
    assert capsys.readouterr() == ("0 files: nothing found\n", "")


def test_a_template_is_one_clear_line_and_the_other_files_are_still_looked_at(runtime, capsys):
    (runtime.parent / "a.yaml").write_text(RUNTIME + "---\n" + TEMPLATE)
    assert run(".") == 2
    said = capsys.readouterr()
    assert [line.partition(":")[0] for line in said.out.splitlines()] == ["a.yaml", "runtime.yaml", "2 files"]
    assert said.err.count("\n") == 1
    assert "a.yaml: line 13: a template and no YAML: render it first" in said.err


def test_many_documents_and_lists_are_read_from_stdin(monkeypatch, capsys):
    items = "apiVersion: v1\nkind: List\nitems:\n- " + RUNTIME.replace("\n", "\n  ").rstrip() + "\n"
    data = f"{RUNTIME}---\nkind: Other\n---\n{items}".encode()
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(data)))
    assert run("-") == 1
    assert [line[:13] for line in capsys.readouterr().out.splitlines()[:2]] == ["<stdin>:6:7: ", "<stdin>:20:9:"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("- name: kserve-container", "- name: kserve-container # kserve-warmup: ignore=probe-missing, probe-tcp"),
        ("    - name: ks", "    # kserve-warmup: ignore=probe-missing\n    # as we know\n    - name: ks"),
        ("spec:", "spec: # kserve-warmup: ignore-file=probe-missing"),
    ],
)
def test_a_comment_says_that_a_finding_is_meant(runtime, before, after):
    runtime.write_text(RUNTIME.replace(before, after))
    assert run(runtime) == 0
    runtime.write_text(RUNTIME.replace(before, after.replace("=probe-missing", "=scale-to-zero")))
    assert run(runtime) == 1


def test_a_rule_can_be_off_and_a_name_that_is_none_is_refused(runtime, capsys):
    assert run(runtime, "--ignore", "probe-missing") == 0
    assert run(runtime, "--ignore", "probe-mising") == 2
    assert "--ignore 'probe-mising': write one of probe-missing, " in capsys.readouterr().err
    assert run(runtime.parent / "nothing") == 2


def test_json_holds_each_finding(runtime, capsys):
    run(runtime.name, "--format", "json")
    [finding] = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["path"], finding["line"], finding["column"], finding["rule"]) == (
        "runtime.yaml",
        6,
        7,
        "probe-missing",
    )


def test_sarif_names_rules_places_and_what_could_not_be_read(runtime, capsys):
    (runtime.parent / "a b.yaml").write_text(TEMPLATE)
    run(".", "--format", "sarif")
    log = json.loads(capsys.readouterr().out)
    [one] = log["runs"]
    [result] = one["results"]
    assert log["version"] == "2.1.0"
    assert one["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"] == "probe-missing"
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "runtime.yaml"}, "region": {"startLine": 6, "startColumn": 7}}
    assert not one["invocations"][0]["executionSuccessful"]


def test_github_gets_workflow_commands_that_no_name_can_break(runtime, capsys):
    runtime.rename(runtime.parent / "a,b: 100%.yaml")
    run(".", "--format", "github")
    line = capsys.readouterr().out
    assert line.startswith("::warning file=a%2Cb%3A 100%25.yaml,line=6,col=7,title=probe-missing::no readinessProbe")


PROBE = """\
      # asks the server, \N{SNOWMAN} and not the model
      readinessProbe:
        {handler}
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("handler", "mended"),
    [
        ("httpGet: {path: /v2/health/ready, port: 1}", 'httpGet: {path: "/v2/models/{{.Name}}/ready", port: 1}'),
        ("tcpSocket: {port: 1}", 'httpGet: {path: "/v2/models/{{.Name}}/ready", port: 1}'),
        (
            "tcpSocket:\n          port: 1 # ours",
            'httpGet:\n          path: "/v2/models/{{.Name}}/ready"\n          port: 1 # ours',
        ),
    ],
)
def test_a_fix_changes_the_probe_and_no_other_byte(handler, mended, end, runtime, capsys):
    before, after = ((RUNTIME + PROBE.format(handler=h)).replace("\n", end) for h in (handler, mended))
    runtime.write_bytes(b"\xef\xbb\xbf" + before.encode())
    runtime.chmod(0o640)
    assert run(runtime, "--fix") == 0
    assert runtime.read_bytes() == b"\xef\xbb\xbf" + after.encode()
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o640
    assert capsys.readouterr().err.count("fixed: ") == 1


def test_what_is_not_safe_to_mend_is_left_as_it_is(runtime):
    text = RUNTIME.replace("--model_name={{.Name}}", "--port=1") + PROBE.format(handler="tcpSocket: {port: 1}")
    runtime.write_text(text)
    assert run(runtime, "--fix") == 1
    assert runtime.read_text() == text


REPORTS = Path(__file__).parents[1] / "data" / "reports"


@pytest.mark.parametrize(("failures", "code"), [(1, 1), (2, 1), (3, 0)])
def test_a_startup_probe_is_held_against_the_longest_start_that_was_measured(failures, code, tmp_path, capsys):
    file = tmp_path / "service.yaml"
    file.write_text(RULES["startup-budget"].failing["service.yaml"] + f"          failureThreshold: {failures}\n")
    assert run(file, "--report", REPORTS / "verify.json", "--report", REPORTS / "bake.json") == code
    told = "20 s to ready were measured (verify.json, bake.json)" in capsys.readouterr().out
    assert told == bool(code)


def test_a_report_without_a_time_to_ready_is_refused(runtime, capsys):
    assert run(runtime, "--report", REPORTS / "demo.json") == 2
    assert "demo.json holds no time to ready" in capsys.readouterr().err


def test_runtimes_in_openshifts_templates_are_looked_at(runtime, capsys):
    inner = RUNTIME.replace("\n", "\n  ").rstrip()
    runtime.write_text(f"apiVersion: template.openshift.io/v1\nkind: Template\nobjects:\n- {inner}\n")
    assert run(runtime) == 1
    assert ":9:9: warning" in capsys.readouterr().out
