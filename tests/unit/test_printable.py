"""What names, files and servers say is shown, and never obeyed: every output of every command."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from kserve_warmup.cli.console import PlainConsole
from kserve_warmup.demo.demo_result import DemoResult
from kserve_warmup.errors import SampleError, WarmupFailedError
from kserve_warmup.gate.options import checked
from kserve_warmup.latency import Latencies
from kserve_warmup.printable import LOGGERS, LONGEST, PrintableFilter, printable
from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import Tensor
from kserve_warmup.report import WarmupReport
from kserve_warmup.samples import SampleSet
from kserve_warmup.triton.trial import is_possible
from kserve_warmup.verify.junit import junit
from kserve_warmup.verify.verify_result import Start, Verification, judged
from kserve_warmup.views.terminal import demo_table, report_table, verification_table

REPORTS = Path(__file__).parents[1] / "data" / "reports"
NASTY = "a\x1b[31m\x1b]0;owned\x07\r\n\x9b2J\x7f\u202eb\u2066\u200b\u2028[red]c[/red][link=x]:bomb:"
SHOWN = r"a\x1b[31m\x1b]0;owned\x07\r\n\x9b2J\x7f\u202eb\u2066\u200b\u2028[red]c[/red][link=x]:bomb:"


def is_harmless(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def shown(table: Table) -> str:
    console = PlainConsole(width=400, no_color=True, force_terminal=False, emoji=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def nasty_set() -> SampleSet:
    body, headers = encode("v2", [Tensor(NASTY, "FP32", np.zeros((1, 2), np.float32))])
    return SampleSet(NASTY, (request("v2", body, headers=headers),), NASTY, 1.0, {"notes": [NASTY]}, "2026-01-01")


@given(st.text())
def test_whatever_a_text_holds_a_terminal_obeys_nothing_of_it(text):
    line = printable(text)
    assert all(c.isprintable() or c == "\u00a0" for c in line)
    assert printable(line) == line
    line.encode()


def test_what_people_write_is_left_as_it_is():
    text = "größe 東京 first ÷ steady → 2 …\u00a0ok \\x"
    assert printable(text) == text


def test_what_is_written_out_tells_what_it_was():
    assert printable(NASTY) == SHOWN
    assert printable("\udcff\u200f\ufeff") == r"\udcff\u200f\ufeff"


def test_a_name_of_a_million_characters_is_cut():
    assert len(printable("x" * 10**6)) == LONGEST + 1


def test_an_error_is_one_line_whatever_it_quotes():
    error = SampleError(f"input {NASTY} is bad")
    assert str(error) == f"input {SHOWN} is bad"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_end_of_a_servers_log_stands_below_the_error_and_cannot_pass_for_another():
    error = WarmupFailedError("it ended:", ["kserve-warmup: all is well\x1b[2A", "\rfine"])
    assert str(error) == "it ended:\n  kserve-warmup: all is well\\x1b[2A\n  \\rfine"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_the_report_table_shows_nasty_names_and_obeys_none():
    report = WarmupReport.from_json((REPORTS / "warmup-silero-vad.json").read_text())
    strata = (replace(report.strata[2], signature=NASTY, protocol=NASTY, error=NASTY),)
    text = shown(report_table(replace(report, model=NASTY, transport=NASTY, strata=strata)))
    assert is_harmless(text)
    assert text.count(SHOWN) >= 4


def test_the_demo_table_shows_nasty_names_and_obeys_none():
    demo = DemoResult.from_json((REPORTS / "demo.json").read_text())
    renamed = {m.name: f"{NASTY}{i}" for i, m in enumerate(demo.models)}
    models = tuple(replace(m, name=renamed[m.name]) for m in demo.models)
    cells = tuple(replace(c, model=renamed[c.model]) for c in demo.cells)
    text = shown(demo_table(replace(demo, models=models, cells=cells)))
    assert is_harmless(text)
    assert SHOWN in text


def a_verification() -> Verification:
    series = [Latencies((9.0, 1.0, 1.0, 1.0, 1.0, 1.0))] * 3
    rows = judged([(NASTY, False, 1.0, series), (NASTY + "2", True, None, series)], 1.1)
    return Verification("2026-01-01", NASTY, 0.3, 1.1, (Start(1.0, NASTY),) * 3, rows)


def test_the_verification_table_shows_nasty_names_and_obeys_none():
    text = shown(verification_table(a_verification()))
    assert is_harmless(text)
    assert SHOWN in text


def test_junit_with_nasty_names_is_xml():
    names = [case.get("name") for case in ET.fromstring(junit(a_verification(), strict=True)).iter("testcase")]
    assert names[0] == SHOWN


def test_a_console_obeys_nothing_even_of_what_nobody_has_escaped():
    console = PlainConsole(width=200, force_terminal=True, color_system=None, emoji=False)
    with console.capture() as capture:
        console.print("\x1b]0;x\x07", markup=False)
        console.say(NASTY)
    assert capture.get() == "\\x1b]0;x\\x07\n" + SHOWN + "\n"


@pytest.mark.parametrize("name", LOGGERS)
def test_the_log_shows_nasty_names_and_obeys_none(name, caplog):
    with caplog.at_level(logging.INFO, name):
        logging.getLogger(name).info("%s: warming %s", NASTY, NASTY)
        try:
            raise ValueError(NASTY)  # noqa: TRY301
        except ValueError:
            logging.getLogger(name).exception("unexpected")
    assert caplog.messages[0] == f"{SHOWN}: warming {SHOWN}"
    assert is_harmless(caplog.text)
    assert SHOWN in caplog.text


def test_every_logger_of_the_package_is_guarded():
    source = "".join(file.read_text() for file in Path(__file__).parents[2].glob("kserve_warmup/**/*.py"))
    names = {part.split('"')[1] for part in source.split("getLogger(")[1:] if part.startswith('"')}
    assert names <= set(LOGGERS)
    for name in LOGGERS:
        assert any(isinstance(f, PrintableFilter) for f in logging.getLogger(name).filters)


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kserve_warmup", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def nasty_traffic(folder: Path) -> Path:
    """Requests with a nasty input name, and records that are bad in nasty ways, in a file with a nasty name."""
    file = folder / NASTY.replace("/", "_")
    good = {"inputs": [{"name": NASTY, "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    other = {"inputs": [{"name": NASTY + "2", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
    bad = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": NASTY, "data": [1, 2]}]}
    lines = [good] * 200 + [other] + [bad]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


def test_sample_shows_nasty_names_and_obeys_none(tmp_path):
    done = run("sample", nasty_traffic(tmp_path), "--model", NASTY, "--out", tmp_path / "s", "--max-samples", 1)
    assert done.returncode == 0, done.stderr
    assert is_harmless(done.stdout + done.stderr)
    assert SHOWN.replace("/", "_") in done.stderr
    assert SHOWN in done.stdout


def test_sample_that_fails_shows_nasty_names_and_obeys_none(tmp_path):
    done = run("sample", tmp_path / NASTY.replace("/", "_"), "--model", "m", "--out", tmp_path / "s")
    assert done.returncode == 2
    assert is_harmless(done.stderr)
    assert done.stderr.count("\n") == 1


def test_inspect_shows_nasty_names_and_obeys_none(tmp_path):
    done = run("inspect", nasty_set().save(tmp_path / "s"))
    assert done.returncode == 0, done.stderr
    assert is_harmless(done.stdout)
    assert done.stdout.startswith(SHOWN)


def test_report_shows_nasty_names_and_obeys_none(tmp_path):
    report = json.loads((REPORTS / "warmup-silero-vad.json").read_text()) | {"model": NASTY}
    (tmp_path / "r.json").write_text(json.dumps(report))
    done = run("report", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    assert is_harmless(done.stdout)
    assert r"a\x1b[31m" in done.stdout


def nasty_repository(folder: Path) -> Path:
    model = folder / NASTY.replace("/", "_")
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(
        'backend: "python"\nmax_batch_size: 4\n# \x1b[31m\n'
        'input { name: "x" data_type: TYPE_FP32 dims: 2 }\noutput { name: "y" data_type: TYPE_FP32 dims: 2 }\n'
    )
    return folder


@pytest.mark.parametrize("option", ["", "--check", "--diff"])
def test_triton_shows_nasty_names_and_obeys_none(tmp_path, option):
    repository = nasty_repository(tmp_path / "models")
    body, headers = encode("v2", [Tensor("x", "FP32", np.zeros((1, 2), np.float32))])
    made = SampleSet("m", (request("v2", body, headers=headers),)).save(tmp_path / "s")
    name = next(repository.iterdir()).name
    done = run("triton", repository, "--samples", made, "--model", name, *([option] if option else []))
    assert is_harmless(done.stdout + done.stderr)
    assert r"a\x1b[31m" in done.stdout + done.stderr
    if not option and is_possible():
        assert "Triton hands its name to a shell" in done.stdout + done.stderr  # and none is started with it


def test_gate_and_verify_show_nasty_names_and_obey_none(tmp_path):
    made = nasty_set().save(tmp_path / "s")
    for command in (["verify", "http://127.0.0.1:9", "--timeout", "0.1"], ["gate", f"http://{NASTY}"]):
        done = run(*command, "--samples", made)
        assert done.returncode in (1, 2)
        assert is_harmless(done.stderr)
        assert r"a\x1b[31m" in done.stderr
    with pytest.raises(SampleError, match="no server has a model called"):  # nothing of the kind is ever asked for
        checked("http://127.0.0.1:9", made)


def test_what_rich_would_print_of_a_nasty_name_is_not_harmless():
    console = Console(width=200, force_terminal=True)
    with console.capture() as capture:
        console.print(NASTY, markup=False)
    assert not is_harmless(capture.get())
