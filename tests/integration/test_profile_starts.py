"""What one start of a server learns, the next one uses."""

import json
import shutil

import pytest
from sample_sets import samples, save


def start_and_report(start, tmp_path, number, target="OwnLoad", **options):
    report = tmp_path / f"report-{number}.json"
    server = start(target, report=report, **options)
    server.wait_ready()
    server.stop()
    return json.loads(report.read_text()), server


def warmed(report):
    """Whether all was called; that it was steady too is for a machine without neighbours to show."""
    return all(stratum["calls"] >= 2 for stratum in report["strata"])


def teach(start, tmp_path, written, **options):
    """Start servers until one has written what it learned, and return its report.

    One that was not steady, as beside a busy neighbour, teaches nothing.
    """
    for _ in range(5):
        report, _ = start_and_report(start, tmp_path, 1, **options)
        if written.exists():
            return report
        assert not report["converged"]
    raise AssertionError("none of five starts was steady")


def test_the_second_start_uses_what_the_first_has_learned_and_then_teaches_nothing(start, tmp_path, sample_set):
    written = tmp_path / "profile.json"
    first = teach(start, tmp_path, written, samples=sample_set, profile_write=written)
    before = written.read_bytes()
    second, server = start_and_report(start, tmp_path, 2, samples=sample_set, profile=written)
    assert first["profile"]["learned"] == str(written)
    assert second["profile"]["source"] == str(written)
    assert second["profile"]["stale"] == []
    assert second["profile"]["used"] or second["profile"]["refused"]
    assert not (second["profile"]["used"] and second["profile"]["learned"])
    assert warmed(second)
    assert second["profile"]["learned"] or written.read_bytes() == before
    assert "profile" in server.log


def test_three_starts_learn_before_their_file_is_used(start, tmp_path, v1_set):
    written = tmp_path / "profile.json"
    reports = []
    while len(reports) < 10 and not (reports and reports[-1]["profile"]["source"]):
        report, _ = start_and_report(start, tmp_path, 1, samples=v1_set, profile_write=written, profile=written)
        reports += [report] if report["profile"] else []  # None: it was not steady, and taught nothing
    before = reports[:-1]  # three, or more where a stratum was not steady on one of its paths
    assert len(before) >= 3
    assert all(report["profile"]["learned"] and not report["profile"]["source"] for report in before)
    assert reports[-1]["profile"]["source"] == str(written)
    assert not (reports[-1]["profile"]["used"] and reports[-1]["profile"]["learned"])
    content = json.loads(written.read_text())["profiles"]["model"]["paths"]
    assert max(len(s["profile"]["runs"]) for strata in content.values() for s in strata) == 3


def test_a_profile_in_the_sample_set_is_used_and_is_no_part_of_the_set(start, tmp_path, v1_set):
    written = tmp_path / "profile.json"
    teach(start, tmp_path, written, samples=v1_set, profile_write=written)
    shutil.copy(written, v1_set / "profile.json")
    report, _ = start_and_report(start, tmp_path, 2, samples=v1_set)
    assert report["profile"]["source"] == str(v1_set / "profile.json")
    assert report["profile"]["stale"] == []


@pytest.mark.parametrize("part", ["code", "machine"])
def test_a_profile_of_other_code_helps_nothing_and_of_another_machine_is_a_hint(part, start, tmp_path, v1_set):
    written = tmp_path / "profile.json"
    teach(start, tmp_path, written, samples=v1_set, profile_write=written)
    content = json.loads(written.read_text())
    content["profiles"]["model"]["key"][part] = "another"
    written.write_text(json.dumps(content))
    report, server = start_and_report(start, tmp_path, 2, samples=v1_set, profile=written)
    assert report["profile"]["stale"] == [part]
    assert warmed(report)
    assert f"learned with other {part}" in server.log
    if part == "code":
        assert not report["profile"]["used"]


def test_a_profile_that_cannot_be_read_is_told_and_the_model_becomes_warm_without(start, tmp_path, v1_set):
    broken = tmp_path / "profile.json"
    broken.write_text('{"schema": 1')
    report, server = start_and_report(start, tmp_path, 1, samples=v1_set, profile=broken)
    assert warmed(report)
    assert f"the profile {broken} is not used" in server.log


POISONED = {
    "cut off": lambda text: text[: len(text) // 2],
    "not a number": lambda text: text.replace('"plateau":', '"plateau": NaN, "was":'),
    "nested": lambda _: "[" * 100_000,
    "foreign": lambda _: '{"kind": "Pod"}',
    "of another model": lambda text: text.replace('"model":', '"another":'),
    "empty": lambda _: "",
}


@pytest.mark.parametrize("how", POISONED)
def test_a_poisoned_profile_costs_calls_at_most_and_is_told(how, start, tmp_path, v1_set):
    written = tmp_path / "profile.json"
    teach(start, tmp_path, written, samples=v1_set, profile_write=written)
    written.write_text(POISONED[how](written.read_text()))
    report, server = start_and_report(start, tmp_path, 2, samples=v1_set, profile=written)
    assert warmed(report)
    assert not report["profile"]["used"]
    assert str(written) in report["profile"]["refused"][0]
    assert str(written) in server.log


def test_a_folder_that_cannot_be_written_keeps_no_model_from_serving(start, tmp_path, v1_set):
    report, server = start_and_report(
        start, tmp_path, 1, samples=v1_set, profile_write=tmp_path / "no" / "profile.json"
    )
    assert warmed(report)
    assert "KSERVE_WARMUP_PROFILE_WRITE" in server.log


def test_what_was_learned_lies_beside_what_was_recorded(start, tmp_path):
    folder = tmp_path / "captured"
    written, chosen = folder / ".profiles" / "model.json", save(tmp_path / "set", samples("v1"))
    teach(start, tmp_path, written, samples=chosen, capture_dir=folder, capture_rate=1)
    report, _ = start_and_report(start, tmp_path, 2, samples=chosen, capture_dir=folder)
    assert report["profile"]["source"] == str(written)


def test_a_model_that_is_loaded_again_teaches_nothing(start, tmp_path, v1_set):
    written = tmp_path / "profile.json"
    teach(start, tmp_path, written, samples=v1_set, profile_write=written)
    server = start("OwnLoad", samples=v1_set, profile_write=written, RELOADS="thread")
    server.wait_ready()
    before = written.read_bytes()
    server.post("/v2/repository/models/model/load", b"")
    server.wait_ready()
    assert written.read_bytes() == before
