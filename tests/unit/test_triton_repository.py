"""Generating over a whole repository: what is written, when, and what a kill leaves behind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from triton_models import PLAIN, generate, model, sample, save, warmups, x
from typer.testing import CliRunner

from kserve_warmup.errors import TritonConfigError, WarmupError
from kserve_warmup.protocols.bodies import Tensor
from kserve_warmup.samples.store import SampleSet
from kserve_warmup.triton import pbtxt
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.recorded import Origin
from kserve_warmup.triton.warmup_files import is_whole

ENSEMBLE = "platform: 'ensemble' ensemble_scheduling { step [ { model_name: 'a' } ] }"


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def sets(tmp_path):
    return tmp_path / "samples"


def command(*arguments):
    """Run the command in this process; return its exit code and output, errors of the package included."""
    import typer

    from kserve_warmup.cli.triton import run

    app = typer.Typer()
    app.command()(run)
    result = CliRunner().invoke(app, [*map(str, arguments), "--no-prove-load"])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def other(rows):
    return Tensor("X", "FP32", np.full((rows, 4), 9, np.float32))


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_second_run_touches_no_file(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    command(repository, "--samples", sets)
    stamps = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.rglob("*")}
    assert command(repository, "--samples", sets) == (0, "m: up to date\n")
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.rglob("*")} == stamps


def test_check_writes_nothing_and_tells_why(repository, sets):
    model(repository, "m")
    save(sets, "m", sample(x()))
    before = tree(repository)
    assert command(repository, "--samples", sets, "--check") == (1, "m: out of date, it has no generated warm-up\n")
    assert tree(repository) == before
    generate(repository, sets)
    assert command(repository, "--samples", sets, "--check")[0] == 0
    assert command(repository, "--samples", sets, "--check", "--count", 7)[0] == 1


def test_the_same_samples_chosen_a_day_later_change_nothing(repository, sets):
    model(repository, "m")
    save(sets, "m", sample(x(), weight=0.75), sample(x(2), weight=0.25))
    generate(repository, sets)
    made = (sample(x(), weight=0.7), sample(x(2), weight=0.2))
    later = {"created": "2030-01-02T03:04:05Z", "source": "elsewhere", "coverage": 0.9, "selection": {"requests": 7}}
    SampleSet("m", made, **later).save(sets / "later" / "m")
    before = tree(repository)
    for options in ((), ("--check",)):
        assert command(repository, "--samples", sets / "later", *options) == (0, "m: up to date\n")
    assert tree(repository) == before


@pytest.mark.parametrize(
    "made",
    [
        (sample(x(), weight=0.25), sample(x(2), weight=0.75)),
        (sample(x(), weight=0.75), sample(x(2), weight=0.2), sample(x(3), weight=0.05)),
        (sample(x(), weight=0.75), sample(x(4), weight=0.25)),
        (sample(x(), weight=0.75), sample(other(2), weight=0.25)),
    ],
    ids=["others are the most frequent", "one more", "another size", "other content"],
)
def test_other_requests_are_out_of_date(repository, sets, made):
    model(repository, "m")
    save(sets, "m", sample(x(), weight=0.75), sample(x(2), weight=0.25))
    generate(repository, sets)
    save(sets / "later", "m", *made)
    assert command(repository, "--samples", sets / "later", "--check")[0] == 1


def test_what_an_earlier_release_wrote_for_the_same_set_is_up_to_date(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    options, found = Options(), SampleSet.open(sets / "m")
    key = options.keys(PLAIN.encode(), found)._key(Origin(), found.digest)
    generate(repository, sets)
    text = (folder / "config.pbtxt").read_bytes()
    span = pbtxt.own_span(text)
    (folder / "config.pbtxt").write_bytes(text.replace(span.key.encode(), key.encode()))
    assert span.key != key
    assert command(repository, "--samples", sets, "--check") == (0, "m: up to date\n")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: next((f / "warmup").iterdir()).unlink(), "is missing or was changed"),
        (lambda f: next((f / "warmup").iterdir()).write_bytes(b"0123456789abcdef"), "is missing or was changed"),
        (
            lambda f: (f / "config.pbtxt").write_bytes(
                (f / "config.pbtxt").read_bytes().replace(b"  count: 3", b"  count: 1")
            ),
            "was edited",
        ),
        (lambda f: (f / "config.pbtxt").write_bytes(b"# new\n" + (f / "config.pbtxt").read_bytes()), "changed"),
        (lambda f: (f / "warmup" / f"kserve-warmup-{'0' * 32}.bin").write_bytes(b""), "old data files"),
        (lambda f: (f / "warmup" / f".kserve-warmup-{'0' * 16}.tmp").write_bytes(b""), "old data files"),
    ],
)
def test_what_was_damaged_is_found_and_mended(repository, sets, damage, reason):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    generate(repository, sets)
    good = tree(repository)
    damage(folder)
    code, output = command(repository, "--samples", sets, "--check")
    assert code == 1
    assert reason in output
    generate(repository, sets)
    assert tree(repository).keys() == good.keys()
    assert command(repository, "--samples", sets, "--check")[0] == 0


def test_diff_shows_the_change_and_writes_nothing(repository, sets):
    model(repository, "m")
    save(sets, "m", sample(x()))
    before = tree(repository)
    code, output = command(repository, "--samples", sets, "--diff")
    assert code == 0
    assert "+++ b/m/config.pbtxt" in output
    assert "+  batch_size: 1" in output
    assert "(16 bytes)" in output
    assert tree(repository) == before


def test_remove_restores_the_bytes_and_leaves_a_users_files(repository, sets):
    model(repository, "m", PLAIN.rstrip())
    user = repository / "m" / "warmup"
    user.mkdir()
    (user / "by-hand").write_bytes(b"x")
    save(sets, "m", sample(x()))
    before = tree(repository)
    generate(repository, sets)
    assert tree(repository) != before
    assert command(repository, "--remove", "--check")[0] == 1
    assert command(repository, "--remove") == (0, "m: warm-up is removed\n")
    assert tree(repository) == before
    assert command(repository, "--remove", "--check")[0] == 0


def test_the_warmup_folder_goes_with_the_last_file(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    generate(repository, sets)
    command(repository, "--remove")
    assert not (folder / "warmup").exists()


def test_files_of_other_samples_are_removed(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    generate(repository, sets)
    (old,) = (folder / "warmup").iterdir()
    save(sets, "m", sample(x(width=4, name="X"), protocol="grpc"), sample(x(2), weight=0.5))
    (sets / "m" / "manifest.json").unlink()
    for body in (sets / "m" / "bodies").iterdir():
        body.unlink()
    (sets / "m" / "bodies").rmdir()
    save(sets, "m", sample(Tensor("X", "FP32", np.full((1, 4), 9, np.float32))))
    generate(repository, sets)
    assert not old.exists()
    assert len(list((folder / "warmup").iterdir())) == 1


def test_one_bad_model_leaves_all_models_unwritten(repository, sets):
    model(repository, "a")
    model(repository, "b", PLAIN.replace("[ 4 ]", "[ 5 ]"))
    save(sets, "a", sample(x()))
    save(sets, "b", sample(x()))
    before = tree(repository)
    with pytest.raises(TritonConfigError, match=r"^model b: "):
        generate(repository, sets)
    assert tree(repository) == before


def test_an_ensemble_is_skipped_in_a_whole_repository(repository, sets):
    model(repository, "a")
    model(repository, "pipeline", ENSEMBLE)
    save(sets, "a", sample(x()))
    save(sets, "pipeline", sample(x()))
    code, output = command(repository, "--samples", sets)
    assert code == 0
    assert "pipeline: skipped, an ensemble is warmed through its members" in output


def test_a_model_without_samples_is_skipped_but_not_when_it_was_named(repository, sets):
    model(repository, "a")
    model(repository, "b")
    save(sets, "a", sample(x()))
    assert "b: skipped, it has no samples" in command(repository, "--samples", sets)[1]
    with pytest.raises(TritonConfigError, match="model b: there is no sample set"):
        generate(repository, sets, ["b"])


def test_one_set_serves_the_model_it_was_recorded_on(repository, sets):
    a, b = model(repository, "a"), model(repository, "b")
    save(sets, "a", sample(x()))
    generate(repository, sets / "a")
    assert len(warmups(a)) == 1
    assert not warmups(b)
    generate(repository, sets / "a", ["b"])
    assert len(warmups(b)) == 1


@pytest.mark.parametrize("name", ["..", ".", "", "a/../../b", "a\\b", "nowhere"])
def test_names_that_are_no_model_are_refused(repository, sets, name):
    model(repository, "a")
    save(sets, "a", sample(x()))
    with pytest.raises(TritonConfigError):
        generate(repository, sets, [name])


@pytest.mark.parametrize("linked", ["config.pbtxt", "warmup"])
def test_links_are_not_written_through(repository, sets, tmp_path, linked):
    folder = model(repository, "m")
    outside = tmp_path / "outside"
    if linked == "warmup":
        outside.mkdir()
    else:
        (folder / linked).rename(outside)
    (folder / linked).symlink_to(outside)
    save(sets, "m", sample(x()))
    with pytest.raises(TritonConfigError, match="is a link"):
        generate(repository, sets)


@pytest.mark.parametrize("text", ["", "model"])
def test_a_repository_must_be_one(tmp_path, sets, text):
    folder = tmp_path / "m"
    if text:
        model(tmp_path, "m")
    with pytest.raises(TritonConfigError, match="repository"):
        generate(folder, sets)


def test_a_missing_config_is_an_error_unless_one_may_be_created(repository, sets):
    folder = model(repository, "m", None)
    (folder / "1" / "model.onnx").touch()
    save(sets, "m", sample(x(1), weight=0.5), sample(x(3), weight=0.5))
    with pytest.raises(TritonConfigError, match="--create"):
        generate(repository, sets)
    generate(repository, sets, create=True)
    config = parse((folder / "config.pbtxt").read_bytes())
    assert (config.backend, config.max_batch_size, list(config.input[0].dims)) == ("onnxruntime", 3, [4])
    assert sorted(b.batch_size for b in config.model_warmup) == [1, 3]
    assert command(repository, "--samples", sets, "--check", "--create")[0] == 0


def test_create_writes_minus_one_where_requests_differ(repository, sets):
    folder = model(repository, "m", None)
    (folder / "1" / "model.py").touch()
    save(sets, "m", sample(x(1, width=4), weight=0.5), sample(x(1, width=6), weight=0.5))
    generate(repository, sets, create=True)
    assert list(parse((folder / "config.pbtxt").read_bytes()).input[0].dims) == [-1]


def test_the_configs_permissions_stay(repository, sets):
    folder = model(repository, "m")
    (folder / "config.pbtxt").chmod(0o640)
    save(sets, "m", sample(x()))
    generate(repository, sets)
    assert (folder / "config.pbtxt").stat().st_mode & 0o777 == 0o640


def test_json_for_machines(repository, sets):
    model(repository, "m")
    save(sets, "m", sample(x()))
    code, output = command(repository, "--samples", sets, "--json")
    (facts,) = json.loads(output)["models"]
    assert code == 0
    assert facts["changed"]
    assert facts["blocks"] == [{"name": "01 batch 1 X[4]", "batch_size": 1, "count": 3}]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--check", "--diff"],
        ["--prove", "http://x", "--check"],
        [],
        ["--calibrate"],
        ["--calibrate", "--count", "3"],
        ["--server", "http://x", "--remove"],
        ["--server", "http://x", "--prove", "http://x"],
        ["--prove-load", "--check"],
        ["--calibrate", "--samples", ".", "--loaded-first", "other"],
        ["--triton-version", "new", "--samples", "."],
    ],
)
def test_options_that_make_no_sense_are_one_line(repository, arguments):
    model(repository, "m")
    with pytest.raises(WarmupError) as caught:
        command(repository, *arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


KILLER = """
import os, signal, sys
seen, last = 0, int(sys.argv[1])
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod"}
def hook(event, args):
    global seen
    writing = event in WRITES or (event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR))
    if writing and sys.argv[2] in str(args[0]):
        seen += 1
        if seen > last:
            os.kill(os.getpid(), signal.SIGKILL)
from kserve_warmup.triton import repository
from kserve_warmup.triton.plan import Options
from pathlib import Path
plan = repository.plan_repository(Path(sys.argv[2]), Path(sys.argv[3]), [], Options())
sys.addaudithook(hook)
for model in plan.changed:
    repository.apply(model)
"""


def killed_after(steps, repository, sets):
    """Run the generator in a process that is killed right before its next write; return whether it was."""
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(steps), str(repository), str(sets)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode in (0, -9)
    return done.returncode == -9


def loads(folder):
    """What Triton needs: a config that parses, whose data files are all there and whole."""
    config = parse((folder / "config.pbtxt").read_bytes())
    names = {i.input_data_file for block in config.model_warmup for i in block.inputs.values()}
    return all(is_whole(folder, name) for name in names)


def test_a_kill_at_any_write_leaves_a_model_that_loads(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    generate(repository, sets)
    old = tree(repository)
    newer = sets.parent / "newer"
    rows = [Tensor("X", "FP32", np.full((n, 4), n, np.float32)) for n in (1, 2)]
    save(newer, "m", *(sample(row, weight=0.5) for row in rows))
    configs = set()
    for steps in range(50):
        for path in folder.rglob("*"):
            if path.is_file():
                path.unlink()
        for name, content in old.items():
            (repository / name).write_bytes(content)
        killed = killed_after(steps, repository, newer)
        assert loads(folder), f"killed after {steps} writes"
        configs.add((folder / "config.pbtxt").read_bytes())
        generate(repository, newer)
        assert loads(folder)
        assert len(tree(folder)) == 3
        if not killed:
            break
    assert not killed
    assert steps >= 7
    assert len(configs) == 2


def calibrated(repository, sets, counts):
    return generate(repository, sets, counts={"m": counts})


def test_measured_counts_are_written_and_blocks_without_one_are_left_out(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x(), weight=0.75), sample(x(2), weight=0.25))
    plan = calibrated(repository, sets, {"02 batch 2 X[4]": 7})
    assert [(size, count) for size, count, _ in warmups(folder)] == [(2, 7)]
    assert plan.models[0].coverage == pytest.approx(0.25)
    assert len(list((folder / "warmup").iterdir())) == 1


def test_measured_counts_stay_up_to_date_until_another_count_is_asked_for_or_samples_change(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    calibrated(repository, sets, {"01 batch 1 X[4]": 7})
    assert command(repository, "--samples", sets, "--check") == (0, "m: up to date\n")
    assert command(repository, "--samples", sets) == (0, "m: up to date\n")
    assert command(repository, "--samples", sets, "--check", "--count", 50)[0] == 1
    save(sets / "other", "m", sample(x(2)))
    assert command(repository, "--samples", sets / "other", "--check")[0] == 1
    assert warmups(folder)[0][1] == 7


def test_counts_that_were_measured_anew_replace_the_old_ones(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    calibrated(repository, sets, {"01 batch 1 X[4]": 7})
    assert calibrated(repository, sets, {"01 batch 1 X[4]": 9}).models[0].reason == "its counts were measured anew"
    assert warmups(folder)[0][1] == 9
    assert not calibrated(repository, sets, {"01 batch 1 X[4]": 9}).changed


def test_a_measured_count_that_was_edited_is_found(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    calibrated(repository, sets, {"01 batch 1 X[4]": 7})
    config = folder / "config.pbtxt"
    config.write_bytes(config.read_bytes().replace(b"count: 7", b"count: 1"))
    assert "was edited" in command(repository, "--samples", sets, "--check")[1]


def test_a_calibration_that_keeps_no_block_writes_nothing(repository, sets):
    model(repository, "m")
    save(sets, "m", sample(x()))
    before = tree(repository)
    with pytest.raises(TritonConfigError, match="model m: no block is left"):
        calibrated(repository, sets, {})
    assert tree(repository) == before
