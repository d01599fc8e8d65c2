"""``kserve-warmup report``: saved reports as a page or as tables."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kserve_warmup.cli.report import run
from kserve_warmup.errors import WarmupError
from kserve_warmup.report import WarmupReport

REPORTS = Path(__file__).parents[1] / "data" / "reports"
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
        (b"\xff\xfe", "cannot read"),
        (None, "cannot read"),
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
