"""``kserve-warmup sample`` and ``inspect`` as a person meets them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kserve_warmup.samples import SampleSet


@pytest.fixture(scope="module")
def traffic(tmp_path_factory) -> Path:
    """80 requests of one row, 20 of four, and a broken line."""
    lines = [json.dumps({"instances": [[number, 2.5]] * (4 if number % 5 == 0 else 1)}) for number in range(100)]
    file = tmp_path_factory.mktemp("traffic") / "day.jsonl"
    file.write_text("\n".join([*lines, '{"instances": [[1', ""]))
    return file


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "kserve_warmup", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False)


def test_traffic_becomes_a_set_and_inspect_shows_it(traffic, tmp_path):
    done = command("sample", traffic, "--out", tmp_path / "set", "--model", "iris")
    assert done.returncode == 0, done.stderr
    assert f"{traffic}:101: not JSON" in done.stderr
    assert "6 of 100 requests" in done.stdout
    assert len(SampleSet.open(tmp_path / "set")) == 6
    shown = command("inspect", tmp_path / "set")
    assert shown.returncode == 0, shown.stderr
    for part in ("iris: 6 samples", "100% of the traffic", "instances:FP64[N,2]", "80%", "20%", str(traffic)):
        assert part in " ".join(shown.stdout.split())
    facts = json.loads(command("inspect", tmp_path / "set", "--json").stdout)
    assert [(s["protocol"], s["batch"], s["samples"], round(s["share"], 9)) for s in facts["strata"]] == [
        ("v1", 1, 3, 0.8),
        ("v1", 4, 3, 0.2),
    ]


def test_json_says_all_that_was_done(traffic, tmp_path):
    done = command(
        "sample", traffic, "--out", tmp_path / "set", "--model", "m", "--per-stratum", 1, "--max-samples", 1, "--json"
    )
    result = json.loads(done.stdout)
    assert (result["requests"], result["bad"], result["samples"], result["coverage"]) == (100, 1, 1, 0.8)
    assert result["bad_examples"][0]["where"] == f"{traffic}:101"


def test_bare_tensors_take_types_and_batch_sizes_from_the_options(tmp_path):
    np.savez(tmp_path / "rows.npz", image=np.arange(8).reshape(4, 2))
    options = ("--batch-sizes", "1,4", "--input", "image:FP32[2]")
    done = command("sample", tmp_path / "rows.npz", "--out", tmp_path / "set", "--model", "m", *options)
    assert done.returncode == 0, done.stderr
    strata = {(str(s.signature), s.batch) for s in SampleSet.open(tmp_path / "set")}
    assert strata == {("image:FP32[N,2]", 1), ("image:FP32[N,2]", 4)}


def test_private_text_is_scrubbed_before_anything_is_written(tmp_path):
    file = tmp_path / "day.jsonl"
    file.write_text("\n".join(json.dumps({"instances": [[f"Anna {number}"]]}) for number in range(10)))
    (tmp_path / "rules.yaml").write_text("rules:\n- {input: instances, action: noise}\n")
    arguments = ("sample", file, "--out", tmp_path / "set", "--model", "m", "--scrub", "strict")
    refused = command(*arguments)
    assert refused.returncode == 2
    assert "$.instances[*][*] holds text that no rule covers" in refused.stderr
    assert "Anna" not in refused.stderr
    assert not (tmp_path / "set").exists()
    done = command(*arguments, "--scrub", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stderr
    written = b"".join(p.read_bytes() for p in (tmp_path / "set").rglob("*") if p.is_file())
    assert b"Anna" not in written
    assert len(SampleSet.open(tmp_path / "set")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--scrub", "nowhere.yaml"), "scrub rules nowhere.yaml"),
        (("--max-bad", "0"), "--max-bad 0"),
        (("--format", "xml"), "unknown format"),
        (("--batch-sizes", "many"), "--batch-sizes 'many'"),
        (("--batch-sizes", "-1"), "batch sizes [-1]"),
        (("--input", "image"), "--input 'image'"),
        (("--input", "image:FP8[1]"), "unknown datatype 'FP8'"),
        (("--per-stratum", "0"), "per-stratum"),
        (("--max-bytes", "3"), "max_bytes is 3: the smallest request has"),
        (("--since", "yesterday"), "--since 'yesterday'"),
        (("--ray-address", "head:6379"), "--ray-address is for --engine ray"),
    ],
)
def test_unusable_options_exit_with_2_and_write_nothing(traffic, tmp_path, options, message):
    done = command("sample", traffic, "--out", tmp_path / "set", "--model", "m", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_unusable_input_exits_with_2_and_one_line(traffic, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    for arguments in (
        ("sample", tmp_path / "nowhere", "--out", tmp_path / "set", "--model", "m"),
        ("sample", traffic, "--out", tmp_path / "taken", "--model", "m"),
        ("inspect", tmp_path / "nowhere"),
        ("inspect", tmp_path / "taken"),
    ):
        done = command(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith("kserve-warmup: ")


def result(*arguments: object) -> dict[str, Any]:
    done = command("sample", *arguments, "--model", "m", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_only_the_time_and_status_asked_for_are_sampled(tmp_path):
    lines = [
        json.dumps({"body": {"instances": [[hour]]}, "time": 1_760_000_400 + 3600 * hour, "status": 200 + hour % 2})
        for hour in range(10)
    ]
    (tmp_path / "day.jsonl").write_text("\n".join([*lines, json.dumps({"body": {"instances": [[99]]}})]))
    arguments = (tmp_path / "day.jsonl", "--out", tmp_path / "set")
    assert result(*arguments)["requests"] == 11
    window = ("--since", "2025-10-09T10:00Z", "--until", "2025-10-09T13:00:00")
    found = result(*arguments, *window)
    assert (found["requests"], found["passed_over"]) == (3, 8)  # a request without a time belongs to no window
    assert result(*arguments, "--status-ok")["requests"] == 6
    done = command("sample", *arguments, "--model", "m", "--since", "2027-01-01")
    assert done.returncode == 2
    assert "no request in 0 records, and 11 that were not asked for" in done.stderr


def test_requests_of_an_api_of_its_own_are_those_to_the_path_that_was_given(tmp_path):
    lines = [
        {"path": "/predict", "body": {"image": [1.0, 2.5]}},
        {"path": "https://host/predict?key=secret", "body": {"inputs": 3}},
        {"path": "/predict", "headers": {"content-type": "image/png"}, "body_b64": "iVBORw0KGgo="},
        {"path": "/health", "body": {}},
        {"path": "/v1/models/m:predict", "body": {"instances": [[1.0]]}},
    ]
    file = tmp_path / "day.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    done = result(file, "--out", tmp_path / "set", "--path", "/predict")
    assert (done["requests"], done["passed_over"], done["bad"]) == (3, 2, 0)
    assert {(s.protocol, s.path) for s in SampleSet.open(tmp_path / "set")} == {
        ("v1", "/v1/models/{model}:predict"),
        ("raw", "/v1/models/{model}:predict"),
    }
    bad = command("sample", file, "--out", tmp_path / "set", "--model", "m", "--path", "predict")
    assert bad.returncode == 2
    assert bad.stderr == "kserve-warmup: --path 'predict': write a path on the server, such as /predict or /health\n"


def test_a_set_keeps_to_its_bytes(tmp_path, traffic):
    found = result(traffic, "--out", tmp_path / "set", "--max-bytes", 100)
    assert 0 < found["bytes"] <= 100
    assert found["selection"]["max_bytes"] == 100


def test_free_lengths_make_few_strata_with_buckets_and_what_is_left_out_is_named_without(tmp_path):
    file = tmp_path / "day.jsonl"
    file.write_text("\n".join(json.dumps({"instances": [[0.5] * length]}) for length in range(9, 129)))
    buckets = result(file, "--out", tmp_path / "buckets", "--shapes", "buckets")
    assert buckets["selection"]["strata"] == 4
    assert buckets["coverage"] == 1
    done = command("sample", file, "--out", tmp_path / "set", "--model", "m", "--max-samples", "20")
    assert "100 strata, 83.3% of the traffic, have no sample:" in done.stdout
    assert "0.8%  v1 instances:FP64[N," in done.stdout
    assert "80 more: give more --max-samples, or --shapes buckets" in done.stdout


def test_ray_that_is_not_installed_is_told_with_how_to_install_it(traffic, tmp_path):
    program = "import sys; sys.modules['ray'] = None\nfrom kserve_warmup.cli import main\nmain()"
    arguments = ["sample", str(traffic), "--out", str(tmp_path / "set"), "--model", "m", "--engine", "ray"]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "kserve-warmup: --engine ray needs ray: pip install 'kserve-warmup[ray]'\n"
