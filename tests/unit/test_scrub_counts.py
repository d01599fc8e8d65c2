"""What scrub rules did is counted; a rule that did nothing, or a body that none can be applied to, is never silent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kserve_warmup.errors import SampleError
from kserve_warmup.samples import SampleSet
from kserve_warmup.sampling import sketch
from kserve_warmup.sampling.engines import local
from kserve_warmup.sampling.reader import sample_traffic
from kserve_warmup.sampling.scrub.scrubber import KEY, Rule, Scrubber

TEXT = {"input": "text", "action": "noise"}


def day(folder: Path, bodies: list[object], files: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        lines = [json.dumps(body) for body in bodies[number::files]]
        (folder / f"{number}.jsonl").write_text("\n".join(lines))
    return folder


def row(number: int, **more: object) -> dict:
    return {"instances": [{"text": f"Anna {number}", "id": number} | more]}


def deep(depth: int) -> object:
    return [deep(depth - 1)] if depth else "Anna deep"


def scrubbed(folder: Path, *rules: dict, max_bad: float = 0.01, **more):
    scrubber = Scrubber(tuple(Rule(**rule) for rule in rules), strict=False, key=b"k")
    return sample_traffic([folder], "m", scrubber=scrubber, max_bad=max_bad, **more)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "kserve_warmup", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, env=os.environ | {KEY: "secret"})


def sampled(tmp_path: Path, rules: object, *more: object) -> subprocess.CompletedProcess[str]:
    (tmp_path / "rules.json").write_text(json.dumps({"rules": rules}))
    options = ("--out", tmp_path / "set", "--model", "m", "--scrub", tmp_path / "rules.json", *more)
    return command("sample", tmp_path / "day", *options)


@pytest.mark.parametrize(
    "rule",
    [
        {"input": "txet", "action": "noise"},
        {"path": "$.instances[*].txet", "action": "hash"},
        {"path": "$.inputs[*].data", "action": "drop"},
        {"path": "$", "action": "replace", "value": 1},
    ],
)
def test_a_rule_that_is_never_applied_is_an_error_and_nothing_is_written(tmp_path, rule):
    day(tmp_path / "day", [row(number) for number in range(9)])
    done = sampled(tmp_path, [TEXT, rule])
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"never applied to any of 3 requests: '{Rule(**rule)}'" in done.stderr
    assert not (tmp_path / "set").exists()
    assert sampled(tmp_path, [TEXT, rule | {"optional": True}]).returncode == 0


def test_counts_stand_in_the_output_in_the_manifest_and_with_inspect(tmp_path):
    bodies = [row(number) for number in range(9)] + [{"instances": row(1)["instances"] * 2, "user": "Anna"}]
    day(tmp_path / "day", bodies)
    rules = [TEXT, {"path": "$.user", "action": "drop"}, {"input": "nowhere", "action": "drop", "optional": True}]
    done = sampled(tmp_path, rules)
    assert done.returncode == 0, done.stderr
    lines = [
        "scrubbed text: noise: 5 places in 4 requests",
        "scrubbed $.user: drop: 1 place in 1 request",
        "scrubbed nowhere: drop: 0 places in 0 requests",
    ]
    for shown in (done.stdout, command("inspect", tmp_path / "set").stdout):
        assert all(line in shown.splitlines() for line in lines), shown
    selection = json.loads((tmp_path / "set" / "manifest.json").read_text())["selection"]
    assert [(s["rule"], s["requests"], s["places"]) for s in selection["scrub"]] == [
        ("text: noise", 4, 5),
        ("$.user: drop", 1, 1),
        ("nowhere: drop", 0, 0),
    ]
    as_json = json.loads(sampled(tmp_path, rules, "--json").stdout)
    assert as_json["selection"]["scrub"] == selection["scrub"]


def test_a_set_of_an_older_version_that_names_its_rules_alone_is_shown(tmp_path):
    day(tmp_path / "day", [row(1)])
    samples, _ = sample_traffic([tmp_path / "day"], "m")
    for selection in ({"scrub": ["text: noise"]}, {"scrub": 7}, {"scrub": [{"rule": 1}]}, {"unscrubbed": 7}):
        SampleSet("m", samples.samples, selection=selection).save(tmp_path / "set")
        shown = command("inspect", tmp_path / "set")
        assert shown.returncode == 0, shown.stderr
        assert ("scrubbed text: noise: not counted" in shown.stdout) == (selection == {"scrub": ["text: noise"]})


def test_a_body_that_cannot_be_scrubbed_is_left_out_and_counted(tmp_path):
    bodies = [row(number) for number in range(400)]
    day(
        tmp_path / "day",
        [*bodies, row(1, more=deep(150)), row(1, text=7), row(1, more=deep(140)), row(1, text=deep(900))],
    )
    done = sampled(
        tmp_path, [{"path": "$..text", "action": "hash"}, {"input": "text", "action": "replace", "value": "x"}]
    )
    assert done.returncode == 0, done.stderr
    assert "2 requests left out: could not be scrubbed: nested too deep" in done.stderr
    assert "1 request left out: could not be scrubbed: scrub rule for input 'text': a value of type int" in done.stderr
    assert "the body is nested too deep" in done.stderr  # that one could not even be placed
    assert "skipped 4 of 404 records" in done.stderr
    written = b"".join(p.read_bytes() for p in (tmp_path / "set").rglob("*") if p.is_file())
    assert b"Anna" not in written
    selection = SampleSet.open(tmp_path / "set").selection
    assert (selection["scrub"][0]["requests"], selection["unscrubbed"]["nested too deep"]) == (3, 2)
    assert selection["requests"] == 400


def test_too_many_bodies_that_cannot_be_scrubbed_are_an_error(tmp_path):
    day(tmp_path / "day", [row(number) for number in range(30)] + [row(1, more=deep(150))])
    rule = {"path": "$..text", "action": "noise"}
    done = sampled(tmp_path, [rule])
    assert done.returncode == 2
    assert "1 of 31 records (3.2%) are unusable, more than --max-bad 0.01 allows" in done.stderr
    assert "could not be scrubbed: nested too deep" in done.stderr
    assert not (tmp_path / "set").exists()
    assert sampled(tmp_path, [rule], "--max-bad", "0.1").returncode == 0


def test_a_rule_that_fits_nothing_it_finds_is_named_with_the_reason(tmp_path):
    day(tmp_path / "day", [row(number, flag=True) for number in range(200)] + [row(number) for number in range(200)])
    with pytest.raises(SampleError, match=r"never applied .* 'flag: hash' .*hash hides nothing of bool"):
        scrubbed(tmp_path / "day", TEXT, {"input": "flag", "action": "hash"})
    day(tmp_path / "day", [row(number, flag=True) for number in range(200)])
    with pytest.raises(SampleError, match=r"nothing can be stored: 3 requests .*hash hides nothing of bool"):
        scrubbed(tmp_path / "day", {"input": "flag", "action": "hash"})


def test_a_rule_that_applied_only_to_what_was_left_out_did_apply(tmp_path):
    day(tmp_path / "day", [row(number) for number in range(300)] + [row(1, score=0.5, user="Anna")])
    rules = {"input": "user", "action": "drop"}, {"input": "score", "action": "hash", "optional": True}
    samples, tally = scrubbed(tmp_path / "day", TEXT, *rules)
    assert [done["requests"] for done in samples.selection["scrub"]] == [3, 0, 0]
    assert (tally.requests, tally.bad) == (300, 1)


def test_others_are_chosen_for_those_that_cannot_be_scrubbed(tmp_path):
    bodies = [row(number, text=f"{number}" * 3) for number in range(300)]
    bodies += [{"instances": [{"text": 0.5}]}] * 3 + [{"instances": [{"text": "Anna"}] * 2}]
    day(tmp_path / "day", bodies)
    samples, _ = scrubbed(
        tmp_path / "day", {"input": "text", "action": "hash"}, job=_job(max_samples=2, per_stratum=1), max_bad=0.1
    )
    assert sorted(sample.batch for sample in samples) == [1, 2]
    assert samples.coverage == pytest.approx(301 / 303)


def _job(**limits):
    from kserve_warmup.sampling.reader import Job
    from kserve_warmup.sampling.select import Limits

    return Job(Limits(**limits))


def test_requests_that_rules_have_made_equal_are_one_with_the_weight_of_all(tmp_path):
    day(tmp_path / "day", [{"instances": [number]} for number in range(9)])
    samples, _ = scrubbed(tmp_path / "day", {"input": "instances", "action": "replace", "value": 1})
    assert [(sample.body, sample.weight) for sample in samples] == [(b'{"instances":[1]}', pytest.approx(1))]
    assert samples.selection["scrub"][0]["requests"] == 1
    assert len(SampleSet.open(samples.save(tmp_path / "set"))) == 1


@pytest.mark.parametrize("held", [sketch.BODIES, 0])
def test_counts_are_the_same_whatever_reads_the_traffic(tmp_path, monkeypatch, held):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setattr(sketch, "BODIES", held)  # 0: what is chosen is read again
    bodies = [row(number, text="a" * (number % 5)) for number in range(400)] + [row(1, more=deep(150))]
    folder = day(tmp_path / "day", bodies, files=7)
    rules = (
        TEXT,
        {"path": "$.instances[*].id", "action": "hash"},
        {"path": "$..user", "action": "drop", "optional": True},
    )
    alone, tally = scrubbed(folder, *rules)
    monkeypatch.setattr(local, "WORTH_A_PROCESS", 1)
    several, other = scrubbed(folder, *rules, engine=local.engine(3))
    assert several == alone
    assert other == tally
    assert tally.bad == 1
    assert [done["requests"] for done in alone.selection["scrub"]] == [3, 3, 0]


def test_the_names_of_strata_that_are_left_out_quote_nothing_that_a_rule_takes_out(tmp_path):
    bodies = [{"instances": [[1.5]], "signature_name": f"customer-{i % 3}"} for i in range(30)]
    rule = {"path": "$.signature_name", "action": "replace", "value": "tuned"}
    made, _ = scrubbed(day(tmp_path / "day", bodies), rule, job=_job(max_samples=1))
    text = (made.save(tmp_path / "set") / "manifest.json").read_text()
    assert made.selection["left_out"]["strata"] == 2
    assert "customer" not in text
    assert [s.variant for s in made] == [(("signature_name", "tuned"),)]
