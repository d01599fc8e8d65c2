"""``kserve-warmup report``: saved reports as a page or as tables."""

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kserve_warmup.cli.report import run
from kserve_warmup.errors import WarmupError
from kserve_warmup.report import WarmupReport

REPORTS = Path(__file__).parents[1] / "data" / "reports"
VERIFY, DEMO, BAKE = REPORTS / "verify.json", REPORTS / "demo.json", REPORTS / "bake.json"
VERIFIED, MEASURED = json.loads(VERIFY.read_text()), json.loads(DEMO.read_text())
SILERO, JAX = REPORTS / "warmup-silero-vad.json", REPORTS / "warmup-digits-jax.json"


def command(*arguments):
    app = typer.Typer()
    app.command()(run)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def copy(source, target, **changes):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({**json.loads(source.read_text()), **changes}))
    return target


def test_one_report_becomes_one_page(tmp_path):
    code, output = command(SILERO, "--out", tmp_path / "new" / "report.html")
    assert (code, "report.html" in output) == (0, True)
    page = (tmp_path / "new" / "report.html").read_text()
    assert "silero-vad: not steady after 564 calls" in page
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "report.html"]


def test_two_reports_of_a_model_are_compared_under_their_files_names(tmp_path):
    before, after = copy(SILERO, tmp_path / "before.json"), copy(SILERO, tmp_path / "after.json")
    command(before, after, "--out", tmp_path / "report.html")
    assert "silero-vad: before → after" in (tmp_path / "report.html").read_text()


def test_files_of_one_name_are_called_by_their_paths(tmp_path):
    one, two = copy(SILERO, tmp_path / "one" / "r.json"), copy(SILERO, tmp_path / "two" / "r.json")
    command(one, two, "--out", tmp_path / "report.html")
    assert f"silero-vad: {one} → {two}" in (tmp_path / "report.html").read_text()


def test_without_a_page_tables_are_printed():
    code, output = command(SILERO, JAX)
    assert code == 0
    assert "silero-vad over" in output
    assert "digits-jax over" in output


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not JSON"),
        ("[]", "not a warm-up report"),
        ('{"schema": 1}', "not a warm-up report"),
        ('{"schema": 2, "strata": []}', "its schema is 2, this version reads 1"),
        ('{"schema": 1, "strata": [], "model": "m", "transport": "grpc", "seconds": "soon"}', "seconds: "),
        ('{"schema": 1, "strata": [{}], "model": "m", "transport": "grpc", "seconds": 1}', "strata.0.protocol: "),
        (b"\xff\xfe", "not JSON"),
        (None, "cannot read"),
        ('{"strata": []}', "not a warm-up report"),
        (
            '{"schema": 1, "rows": [], "created": "", "target": "", "pace_seconds": 1, "max_ratio": 2, "starts": []}',
            "rows: ",
        ),
        (
            json.dumps({**VERIFIED, "rows": [{**VERIFIED["rows"][0], "latencies_ms": [[0, 1, 1, 1]]}]}),
            "latencies_ms.0.0: ",
        ),
        (json.dumps({**MEASURED, "cells": [{**MEASURED["cells"][0], "starts": []}]}), "cells.0.starts: "),
        (DEMO.read_text().replace('"latencies_ms": [', '"latencies_ms": [-1, ', 1), "above 0 ms"),
        (DEMO.read_text().replace('"pace_seconds": ', '"pace_seconds": Infinity, "was": ', 1), "not JSON"),
    ],
)
def test_what_is_no_report_is_one_line_that_names_the_file_and_nothing_is_written(tmp_path, content, problem):
    bad = tmp_path / "bad.json"
    if content is not None:
        bad.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WarmupError) as caught:
        command(SILERO, bad, "--out", tmp_path / "report.html")
    assert "\n" not in str(caught.value)
    assert str(bad) in str(caught.value)
    assert problem in str(caught.value)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "report.html").exists()


def test_every_kind_of_result_is_shown_told_by_its_content(tmp_path):
    command(SILERO, VERIFY, DEMO, BAKE, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert re.findall("<h1.*?>(.*?)</h1>", page) == [
        "silero-vad: not steady after 564 calls in 60 s",
        "verify: Not warm",
        "bake: Baked: ready after 5.5 s instead of 6.97 s",
        "demo: The first request as fast as the thousandth",
    ]
    code, output = command(SILERO, VERIFY, DEMO, BAKE)
    assert code == 0
    words = ("silero-vad over", "not warm", "The first request, cold and warm", "/opt/warm: 4 files")
    assert all(word in output for word in words)


def test_a_table_tells_what_caches_and_the_profile_of_earlier_starts_did():
    _, output = command(REPORTS / "baked-warmup.json")
    assert "cache: 2 of 2 programs hit, 0 compiled" in output
    assert "profile: not agreed with: in_process: 3 of 3 strata" in output


@pytest.mark.parametrize(
    ("source", "row"), [(VERIFY, "first request of the process"), (DEMO, "digits-jax · kserve, cold")]
)
def test_results_before_and_after_are_compared(tmp_path, source, row):
    before, after = copy(source, tmp_path / "before.json"), copy(source, tmp_path / "after.json")
    command(before, after, "--out", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "before → after" in page
    assert f"{row}</code>" in page
    assert "First ÷ steady, report by report" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_a_list_of_reports_is_read_as_a_gate_gives_it(tmp_path):
    (tmp_path / "gate.json").write_text(f"[{SILERO.read_text()}, {JAX.read_text()}]")
    command(tmp_path / "gate.json", "--out", tmp_path / "report.html")
    assert "Warm-up of silero-vad, digits-jax" in (tmp_path / "report.html").read_text()


def test_a_report_is_not_overwritten_by_its_page(tmp_path):
    saved = copy(SILERO, tmp_path / "r.json")
    before = saved.read_bytes()
    with pytest.raises(WarmupError, match="is one of the reports"):
        command(saved, "--out", saved)
    assert saved.read_bytes() == before


def test_a_page_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WarmupError, match="cannot write"):
        command(SILERO, "--out", tmp_path / "file" / "report.html")


def test_a_report_survives_being_saved_and_read():
    report = WarmupReport.from_json(SILERO.read_text())
    assert WarmupReport.from_json(report.to_json()) == report
