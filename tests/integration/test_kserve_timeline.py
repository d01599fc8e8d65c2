"""The way from process start to ready, as a real KServe server tells it in its report and on /metrics."""

from itertools import pairwise

import pytest
from kserve_server import NOT_STARVED

from kserve_warmup import WarmupReport


@pytest.mark.parametrize(("target", "in_load"), [("OwnLoad", ["model warm-up"]), ("AsyncLoadModel", [])])
def test_a_report_tells_every_step_from_process_start_to_ready(target, in_load, start, sample_set, tmp_path):
    server = start(target, samples=sample_set, report=tmp_path / "report.json", max_calls=5)
    server.wait_ready()
    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    assert list(report.step_seconds) == [
        "import",
        "load",
        *in_load,
        "wire warm-up (rest)",
        "wire warm-up (grpc)",
    ]
    assert report.timeline[0].start == 0
    assert all(before.end <= after.start for before, after in pairwise(report.timeline))
    assert report.timeline[-1].name == "ready"
    assert report.step_seconds["import"] > 0


@NOT_STARVED
def test_a_worker_tells_its_own_steps(start, v1_set):
    server = start("OwnLoad", samples=v1_set, workers=2, max_calls=5)
    server.wait_ready()
    text = server.get("/metrics")[1].decode()
    assert 'kserve_warmup_step_seconds{model_name="model",step="load"}' in text
    assert 'kserve_warmup_step_seconds{model_name="model",step="wire warm-up (rest)"}' in text


def test_metrics_hold_the_reports_timeline(start, v1_set, tmp_path):
    server = start("OwnLoad", samples=v1_set, report=tmp_path / "report.json", max_calls=5)
    server.wait_ready()
    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    lines = dict(line.rsplit(" ", 1) for line in server.get("/metrics")[1].decode().splitlines() if line[0] != "#")
    assert float(lines['kserve_warmup_ready_seconds{model_name="model"}']) == pytest.approx(report.ready_seconds)
    for step, seconds in report.step_seconds.items():
        name = f'kserve_warmup_step_seconds{{model_name="model",step="{step}"}}'
        assert float(lines[name]) == pytest.approx(seconds)
