"""The whole demo on one model, with both real servers."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.demo.demonstration import Options, check
from kserve_warmup.errors import WarmupError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, install, elsewhere):
    """Run what is in the wheel, where there is no repository."""
    out = tmp_path_factory.mktemp("demo")
    program = install("--no-deps", beside=True).with_name("kserve-warmup")
    command = [program, "demo", "--models=digits_mlp", "--requests=4", f"--out={out}", "--json"]
    done = subprocess.run(command, cwd=out, env=elsewhere, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return out, done


def test_every_server_is_measured_cold_and_warm(demo):
    out, done = demo
    result = DemoResult.from_json(done.stdout)

    assert result == DemoResult.from_json((out / "result.json").read_text())
    cells = [(c.server, c.scenario, len(c.starts), len(c.starts[0].latencies_ms)) for c in result.cells]
    assert cells == [
        ("kserve", "cold", 1, 4),
        ("kserve", "warm", 1, 4),
        ("triton", "cold", 1, 4),
        ("triton", "warm", 1, 4),
    ]


def test_only_the_warm_kserve_server_reports_a_warm_up_and_it_covers_the_traffic(demo):
    result = DemoResult.from_json(demo[1].stdout)

    reports = {(c.server, c.scenario): c.starts[0].warmup for c in result.cells}
    warm = reports.pop(("kserve", "warm"))
    assert warm["coverage"] + warm["unsteady"] == pytest.approx(1)
    assert warm["calls"] > 0
    assert set(reports.values()) == {None}


def test_time_to_ready_is_taken_from_outside_for_both_servers_cold_and_warm(demo):
    out, done = demo
    result = DemoResult.from_json(done.stdout)

    page = (out / "report.html").read_text()
    for cell in result.cells:
        assert f"<td>{cell.ready_seconds:.1f}</td>" in page
    warm = result.cell("digits_mlp", "kserve", "warm")
    # Which came first, however long it takes: the server's own clock begins with the process, to two of the kernel's
    # ticks, and ends before anybody can be told.
    assert warm.starts[0].warmup["ready_seconds"] <= warm.ready_seconds + 2 / os.sysconf("SC_CLK_TCK")


def test_warm_triton_has_warm_up_in_its_config_and_cold_triton_has_none(demo):
    configs = {s: demo[0] / "digits_mlp" / f"triton-{s}" / "digits_mlp" / "config.pbtxt" for s in ("cold", "warm")}

    assert "model_warmup" in configs["warm"].read_text()
    assert "model_warmup" not in configs["cold"].read_text()


def test_the_report_is_a_page_of_its_own_and_progress_is_plain_lines(demo):
    out, done = demo

    assert (out / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")
    assert "digits_mlp: triton, warm" in done.stderr
    assert "\x1b" not in done.stderr


def test_the_sample_set_of_the_recording_is_kept(demo):
    manifest = json.loads((demo[0] / "digits_mlp" / "samples" / "manifest.json").read_text())

    assert manifest["model"] == "digits_mlp"
    assert manifest["coverage"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": ("resnet",)}, "unknown demo model 'resnet': use digits_mlp, "),
        ({"models": ()}, "at least one model"),
        ({"starts": 0}, "one start"),
        ({"repository": Path("/nowhere")}, "/nowhere/digits_mlp is no Triton model: leave --repository out"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(tmp_path, options, message):
    with pytest.raises(WarmupError, match=message):
        check(Options(**{"repository": ROOT / "model_repository", "out": tmp_path} | options))
    assert not list(tmp_path.iterdir())


def test_the_committed_model_repository_has_the_warm_up_that_the_demo_generates(demo):
    generated = demo[0] / "digits_mlp" / "triton-warm" / "digits_mlp"
    committed = ROOT / "model_repository" / "digits_mlp"

    def config(model):  # the marker line also tells sample sets apart by when they were made
        return [line for line in (model / "config.pbtxt").read_text().splitlines() if ">>> kserve-warmup" not in line]

    def data(model):
        return {file.name: file.read_bytes() for file in (model / "warmup").iterdir()}

    assert config(committed) == config(generated)
    assert data(committed) == data(generated)
    assert len(data(committed)) == 8
