"""docs/lint.md is what the rules say of themselves, and the hook and the action name what is there."""

import re
from pathlib import Path

import pytest
import yaml

from kserve_warmup.cli import main
from kserve_warmup.lint.lint_files import kind_of
from kserve_warmup.lint.rule_list import RULES
from kserve_warmup.lint.rule_pages import sections, table

ROOT = Path(__file__).parents[2]


def test_the_page_holds_each_rule_as_it_is():
    page = (ROOT / "docs" / "lint.md").read_text()
    assert table() in page
    assert page.endswith(sections())


def test_each_rule_has_its_anchor():
    page = (ROOT / "docs" / "lint.md").read_text()
    assert re.findall(r"^### (.*)$", page, re.MULTILINE) == list(RULES)


@pytest.mark.parametrize("name", ["a/b.yaml", "c.yml", "m/config.pbtxt", "Dockerfile", "docker/Dockerfile.triton"])
def test_the_hook_is_given_what_the_lint_looks_at(name):
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert re.search(hook["files"], name)
    assert kind_of(name) is not None


def test_the_hook_passes_what_pre_commit_gives_it(tmp_path):
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = hook["entry"].split()
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text("a: 1\n")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *map(str, files)])
    assert (program, ended.value.code or 0) == ("kserve-warmup", 0)


def test_the_action_takes_no_input_as_a_shells_text():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    steps = action["runs"]["steps"]
    assert all("${{" not in step["run"] for step in steps)
    assert "kserve-warmup lint --format github" in steps[-1]["run"]
    used = {name for step in steps for name in re.findall(r"inputs\.(\w+)", str(step["env"]))}
    assert used == set(action["inputs"])


def test_the_actions_script_lints_and_fails_as_it_is_asked_to(tmp_path):
    import os
    import subprocess
    import sys

    script = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"][-1]["run"]
    program = tmp_path / "kserve-warmup"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kserve_warmup "$@"\n')
    program.chmod(0o755)
    (tmp_path / "runtime.yaml").write_text(RULES["probe-missing"].failing["runtime.yaml"])
    for severity, code in (("warning", 1), ("error", 0)):
        environment = os.environ | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PATHS": "runtime.yaml",
            "SEVERITY": severity,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert done.stdout.startswith("::warning file=runtime.yaml,line=6,col=7,")
