"""What a WarmupModel does when something goes wrong, on real KServe servers."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kserve_server import ended_at_once
from sample_sets import samples, save

from kserve_warmup import WarmupReport


def test_a_model_that_fails_every_sample_never_gets_ready_and_says_why(start, v1_set):
    code, last = start("Fails", samples=v1_set).outcome()
    assert code == 1
    assert "2 of 2 strata cannot be warmed" in last
    assert "this model has no weights" in last
    assert "KSERVE_WARMUP_ON_FAILURE=serve" in last


def test_a_failing_model_is_served_with_a_loud_warning_when_asked_to(start, v1_set, tmp_path):
    server = start("Fails", samples=v1_set, on_failure="serve", report=tmp_path / "report.json")
    server.wait_ready()
    assert "served COLD" in server.log
    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    assert not report.converged
    assert report.coverage == 0
    assert 'kserve_warmup_coverage_ratio{model_name="model"} 0.0' in server.get("/metrics")[1].decode()


def test_a_request_that_hangs_is_cut_and_the_others_are_warmed(start, v1_set, tmp_path):
    server = start("Hangs", samples=v1_set, request_timeout=1, on_failure="serve", report=tmp_path / "report.json")
    server.wait_ready()
    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    one, two = sorted(report.strata, key=lambda s: s.batch)
    assert one.warmed
    assert not two.warmed
    assert "no answer within 1 s" in two.error
    assert server.predict(rows=1)[0] > 0


def test_a_hanging_model_never_gets_ready_by_default(start, v1_set):
    code, last = start("Hangs", samples=v1_set, request_timeout=1).outcome()
    assert code == 1
    assert "no answer within 1 s" in last


def test_an_async_handler_that_blocks_the_event_loop_ends_the_process_with_a_clear_line(start, v1_set):
    code, last = start("BlocksTheLoop", samples=v1_set, request_timeout=1).outcome()
    assert code == 1
    assert "blocks the thread that serves" in last


def test_a_slow_model_that_the_budget_cuts_is_served_and_not_refused(start, v1_set, tmp_path):
    server = start("SlowPredict", samples=v1_set, max_seconds=0.2, request_timeout=30, report=tmp_path / "report.json")
    server.wait_ready()
    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    assert not report.converged
    assert "budget" in report.strata[0].error


@pytest.mark.parametrize("target", ["OwnLoad", "LazyAsyncClient"])
def test_a_missing_sample_set_that_was_asked_for_is_never_served_cold(target, start, tmp_path):
    code, last = start(target, samples=tmp_path / "nowhere").outcome()
    assert code == 1
    assert "holds no sample set" in last


@pytest.mark.parametrize("target", ["OwnLoad", "LazyAsyncClient"])
def test_a_tampered_sample_set_is_never_served_cold(target, start, v1_set):
    manifest = json.loads((v1_set / "manifest.json").read_text())
    (v1_set / manifest["samples"][0]["body"]).write_bytes(b'{"instances": [[9.0, 9.0]]}')
    code, last = start(target, samples=v1_set).outcome()
    assert code == 1
    assert manifest["samples"][0]["body"] in last


def test_without_samples_requests_are_made_up_from_the_declared_inputs_and_the_log_names_the_better_way(start):
    server = start("Declared")
    server.wait_ready()
    assert server.predict()[0] > 0
    assert "kserve-warmup sample" in server.log


def test_without_samples_or_declared_inputs_the_settings_decide(start):
    server = start("OwnLoad")
    server.wait_ready()
    assert "it is served COLD" in server.log
    assert server.predict()[0] == 0
    quiet = start("OwnLoad", on_missing_samples="ignore")
    quiet.wait_ready()
    assert "COLD" not in quiet.log
    code, last = start("OwnLoad", on_missing_samples="fail").outcome()
    assert code == 1
    assert "nothing can be warmed" in last


def test_the_budget_ends_a_warm_up_and_the_report_says_not_converged(start, tmp_path):
    made = samples("v1", rows=(1, 2, 3))
    folder = save(tmp_path / "samples", tuple(s.with_weight(w) for s, w in zip(made, (0.6, 0.3, 0.1), strict=True)))
    server = start("SlowPredict", samples=folder, max_seconds=2, report=tmp_path / "report.json")
    server.wait_ready()
    report = WarmupReport.from_json((tmp_path / "report.json").read_text())
    assert not report.converged
    assert report.strata[0].batch == 1
    assert report.strata[0].calls > report.strata[2].calls >= 1
    assert "NOT steady" in server.log


@pytest.mark.alone
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("target", "moment"), [("SlowLoad", "loading"), ("SlowPredict", "predicting")])
def test_sigterm_ends_a_load_or_a_warm_up_at_once(target, moment, workers, start, v1_set):
    server = start(target, samples=v1_set, workers=workers, LOAD_SECONDS=3600)
    server.wait_for_log(moment)
    assert ended_at_once(server.process) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


@pytest.mark.alone
@pytest.mark.parametrize("target", ["SlowPredict", "SlowAsyncPredict"])
@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_ends_a_warm_up_in_the_serving_processes_at_once(target, workers, start, v1_set):
    server = start(target, samples=v1_set, workers=workers, max_calls=40)
    server.wait_for_log("Waiting for application startup")
    time.sleep(1)  # into the warm-up of the serving process
    assert ended_at_once(server.process) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)


@pytest.mark.alone
@pytest.mark.parametrize(("target", "moment"), [("SlowLoad", "loading"), ("SlowPredict", "predicting")])
def test_sigterm_ends_it_as_pid_1_too(target, moment, start, v1_set):
    own_pids = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if os.geteuid():
        own_pids += ("--user", "--map-root-user")
    server = start(target, samples=v1_set, LOAD_SECONDS=3600, prefix=own_pids)
    server.wait_for_log(moment)
    first = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()[0]
    assert ended_at_once(server.process, int(first)) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("predictors", "names no class"),
        ("nowhere:Model", "no module 'nowhere'"),
        ("predictors:Nothing", "has no 'Nothing'"),
        ("predictors:Plain", "is not a WarmupModel"),
    ],
)
def test_serve_explains_an_unusable_target_in_one_line(target, expected):
    run = subprocess.run(
        [sys.executable, "-m", "kserve_warmup", "serve", target],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert expected in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1


def test_serve_ends_with_one_line_when_the_model_cannot_be_warmed(start, v1_set):
    server = start(None, samples=v1_set, command=[sys.executable, "-m", "kserve_warmup", "serve", "predictors:Fails"])
    code, last = server.outcome()
    assert code == 1
    assert last.startswith("kserve-warmup: fails: ")
    assert server.log.count("kserve-warmup: ") == 1
