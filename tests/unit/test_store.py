"""Sample sets on disk: written whole, opened only when they are what was written."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import traffic, v1_sample

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import Tensor, to_dtype
from kserve_warmup.samples import Sample, SampleSet, manifest
from kserve_warmup.samples.sample import DATATYPES


def some_samples() -> SampleSet:
    """A set with a body of each kind of file."""
    tensors = [Tensor("x", "FP32", np.arange(6, dtype=np.float32).reshape(2, 3))]
    samples = [v1_sample(3, 2, 1).with_weight(0.5)]
    for protocol, weight in (("v2-binary", 0.3), ("grpc", 0.15)):
        body, headers = encode(protocol, tensors)
        samples.append(request(protocol, body, headers=headers, weight=weight))
    return SampleSet("digits", tuple(samples), "a test", 0.95, {"seed": 0}, "2026-01-01T00:00:00+00:00")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return some_samples().save(tmp_path / "samples")


def edit(folder: Path, change) -> None:
    """Change a set's manifest by hand."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def body_file(folder: Path, sample: Sample) -> Path:
    """The file that holds a sample's body."""
    (file,) = (folder / "bodies").glob(f"{sample.id}.*")
    return file


def test_a_set_opens_as_it_was_saved(folder):
    assert SampleSet.open(folder) == some_samples()


@given(traffic())
def test_any_set_opens_as_it_was_saved_in_descending_weight(samples):
    given_set = SampleSet("m", tuple(s.with_weight((i + 1) / 1000) for i, s in enumerate(samples)))
    with tempfile.TemporaryDirectory() as parent:
        opened = SampleSet.open(given_set.save(Path(parent) / "set"))
    assert opened == given_set
    weights = [s.weight for s in opened]
    assert weights == sorted(weights, reverse=True)
    assert len({s.id for s in opened}) == len(opened)
    assert sum(weights) == pytest.approx(sum((i + 1) / 1000 for i in range(len(samples))))


def test_bodies_are_kept_byte_for_byte_under_names_that_tell_what_they_are(folder):
    bodies = {file.suffix: file.read_bytes() for file in (folder / "bodies").iterdir()}
    assert bodies == {{"v1": ".json", "v2-binary": ".bin", "grpc": ".pb"}[s.protocol]: s.body for s in some_samples()}


def test_the_manifest_can_be_reviewed(folder):
    text = (folder / "manifest.json").read_text()
    assert '"schema": 1' in text
    assert '\n            "shape": [3]\n' in text


def test_saving_again_replaces_the_set_and_leaves_no_old_body(folder):
    other = SampleSet("digits", (v1_sample(1, 1, 1),))
    other.save(folder)
    assert SampleSet.open(folder) == other
    assert [file.name for file in (folder / "bodies").iterdir()] == [f"{other.samples[0].id}.json"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(SampleError, match="holds no sample set"):
        some_samples().save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_a_foreign_file_in_a_sample_set_survives_a_replacement(folder):
    (folder / "README.md").write_text("about")
    some_samples().save(folder)
    assert (folder / "README.md").read_text() == "about"


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "set").mkdir()
    assert len(SampleSet.open(some_samples().save(tmp_path / "set"))) == 3


@pytest.mark.parametrize(
    "broken",
    [
        replace(v1_sample(1, 1, 1), headers={"authorization": "Bearer x"}),
        replace(v1_sample(1, 1, 1), headers={"Content-Type": "text/plain"}),
        replace(v1_sample(1, 1, 1), path="/v1/models/m:predict?token=x"),
        replace(v1_sample(1, 1, 1), weight=float("nan")),
        replace(v1_sample(1, 1, 1), batch=0),
    ],
)
def test_a_sample_with_a_secret_or_a_wrong_figure_is_never_written(tmp_path, broken: Sample):
    with pytest.raises(SampleError):
        SampleSet("m", (broken,)).save(tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SampleError, match="cannot"):
        some_samples().save(tmp_path / "file" / "set")
    with pytest.raises(SampleError, match="is a file"):
        some_samples().save(tmp_path / "file")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_others_may_read_what_is_saved(folder):
    expected = 0o777 & ~os.umask(os.umask(0) or 0)
    assert stat.S_IMODE(folder.stat().st_mode) & 0o055 == expected & 0o055


def save_and_die(samples: SampleSet, folder: Path, step: int) -> bool:
    """Save in a process that dies before its ``step``-th change of the file system; return whether it got through."""

    def count_down(event: str, args: tuple[object, ...]) -> None:
        nonlocal step
        if event in ("os.mkdir", "os.rename", "os.remove") or (event == "open" and ".tmp" in str(args[0])):
            step -= 1
            if step < 0:
                os._exit(9)

    child = os.fork()
    if not child:
        sys.addaudithook(count_down)
        samples.save(folder)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("existing", [True, False])
def test_a_kill_at_any_moment_of_a_save_leaves_the_old_set_or_the_new_one(tmp_path, existing):
    old = SampleSet("old", (v1_sample(1, 1, 1), v1_sample(1, 1, 2)))
    new = SampleSet("new", (v1_sample(1, 1, 2), v1_sample(1, 1, 3)))
    seen = []
    for step in range(50):
        folder = tmp_path / str(step) / "set"
        if existing:
            old.save(folder)
        through = save_and_die(new, folder, step)
        if existing or folder.exists():
            seen.append(SampleSet.open(folder))
        if through:
            break
        later = SampleSet("later", (v1_sample(1, 1, 1),))  # a killed save is in nobody's way
        assert SampleSet.open(later.save(folder)) == later
    assert through
    assert step > 5
    assert seen[-1] == new
    assert all(s in (old, new) for s in seen)
    assert (old in seen) == existing


def test_a_set_opens_from_a_mounted_config_map(folder, tmp_path):
    mount = tmp_path / "mount"
    version = mount / "..2026_01_01"
    version.mkdir(parents=True)
    (mount / "..data").symlink_to(version.name)
    for file in (folder / "manifest.json", *(folder / "bodies").iterdir()):
        shutil.copy(file, version / file.name)
        (mount / file.name).symlink_to(f"..data/{file.name}")
    assert SampleSet.open(mount) == some_samples()


@pytest.mark.parametrize("link", ["body", "folder", "manifest"])
def test_a_link_that_leaves_the_folder_is_refused(folder, tmp_path, link):
    target = {
        "body": next((folder / "bodies").iterdir()),
        "folder": folder / "bodies",
        "manifest": folder / "manifest.json",
    }
    outside = tmp_path / "outside"
    target[link].rename(outside)
    target[link].symlink_to(outside)
    with pytest.raises(SampleError, match="leads out"):
        SampleSet.open(folder)


@pytest.mark.parametrize(
    "name", ["/etc/hostname", "../outside", "bodies/../../outside", "..", "bodies", "", "a\0b", "x" * 5000]
)
def test_a_body_that_is_no_file_inside_the_folder_is_refused(folder, name):
    edit(folder, lambda manifest: manifest["samples"][0].update(body=name))
    with pytest.raises(SampleError):
        SampleSet.open(folder)


def test_a_pipe_in_place_of_a_body_does_not_hang(folder):
    body = next((folder / "bodies").iterdir())
    body.unlink()
    os.mkfifo(body)
    with pytest.raises(SampleError, match="missing"):
        SampleSet.open(folder)


def test_a_changed_body_is_refused(folder):
    body = next((folder / "bodies").glob("*.json"))
    body.write_bytes(body.read_bytes().replace(b"1", b"2"))
    with pytest.raises(SampleError, match="sha256 differs"):
        SampleSet.open(folder)


def test_a_missing_set_is_one_clear_line(tmp_path):
    with pytest.raises(SampleError, match="kserve-warmup sample"):
        SampleSet.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema=2), "schema"),
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.pop("coverage"), "coverage"),
        (lambda m: m["samples"][0].update(weight=2), "samples.0.weight"),
        (lambda m: m["samples"][0].update(batch="1"), "samples.0.batch"),
        (lambda m: m["samples"][0].update(size=1), "instead of 1"),
        (lambda m: m["samples"][0].update(path="/elsewhere"), "changed after it was recorded"),
        (lambda m: m["samples"][0]["headers"].update(cookie="x"), "must not keep"),
        (lambda m: m["samples"][0]["signature"]["inputs"][0].update(datatype="FP8"), "datatype"),
        (lambda m: m["samples"][0]["signature"]["inputs"][0].update(shape=[-2]), "shape"),
        (lambda m: m["samples"].append(m["samples"][0]), "twice"),
    ],
)
def test_a_manifest_that_was_tampered_with_is_told_by_its_field(folder, change, message):
    edit(folder, change)
    with pytest.raises(SampleError, match=message) as caught:
        SampleSet.open(folder)
    assert "manifest.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def poison(folder: Path, path: str) -> str:
    """Give a set's first sample another path, with the id that belongs to it; return the id."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["samples"][0]
    poisoned = replace(SampleSet.open(folder).samples[0], path=path)
    (folder / entry["body"]).rename(folder / "bodies" / f"{poisoned.id}.json")
    entry.update(id=poisoned.id, path=path, body=f"bodies/{poisoned.id}.json")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return poisoned.id


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/x/unload",
        "/v2/models/{model}/infer",
        "/v1/models/other:predict",
        "/../v1/models/{model}:predict",
    ],
)
def test_a_poisoned_path_is_refused_when_the_set_is_opened_and_the_sample_is_named(folder, path):
    number = poison(folder, path)
    with pytest.raises(SampleError, match=f"sample {number}: path '{path}' ") as caught:
        SampleSet.open(folder)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_an_inference_endpoint_opens(folder):
    poison(folder, "/gateway/v1/models/{model}/versions/3:explain")
    assert "explain" in {sample.verb for sample in SampleSet.open(folder)}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(2**70),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_a_broken_set_opens_as_it_was_saved_or_is_a_sample_error(data):
    with tempfile.TemporaryDirectory() as parent:
        folder = some_samples().save(Path(parent) / "set")
        if data.draw(st.booleans(), "break the manifest's meaning"):
            edit(folder, lambda manifest: mutate(data, manifest))
        else:
            files = [folder / "manifest.json", *sorted((folder / "bodies").iterdir())]
            garble(data, data.draw(st.sampled_from(files)))
        try:
            opened = SampleSet.open(folder)
        except SampleError as error:
            assert "\n" not in str(error)  # noqa: PT017  (any other exception fails the test)
        else:
            assert {s.body for s in opened} <= {s.body for s in some_samples()}


def mutate(data, value) -> None:
    """Replace or remove something somewhere in a JSON document."""
    while True:
        key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        child = value[key]
        if isinstance(child, dict | list) and child and data.draw(st.booleans()):
            value = child
        elif data.draw(st.booleans()):
            value[key] = data.draw(VALUES)
            return
        else:
            del value[key]
            return


def garble(data, file: Path) -> None:
    """Cut a file, remove it, or overwrite some of its bytes."""
    content = bytearray(file.read_bytes())
    how = data.draw(st.sampled_from(["cut", "remove", "overwrite"]))
    if how == "remove":
        file.unlink()
        return
    if how == "cut":
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(1, 3)) if how == "overwrite" else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)


def test_opening_a_set_needs_no_numpy_so_that_a_sidecar_stays_small():
    code = (
        "import sys; from kserve_warmup import SampleSet; assert not {'numpy', 'kserve', 'pandas'} & set(sys.modules)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_manifest_knows_every_type_that_a_tensor_can_have():
    assert len({to_dtype(name) for name in DATATYPES}) == len(DATATYPES)


@pytest.mark.parametrize("place", ["link", "dangling link", "pipe", "file"])
def test_a_set_is_written_to_no_link_and_in_no_files_place(folder, tmp_path, place):
    out = tmp_path / "out"
    if place == "pipe":
        os.mkfifo(out)
    elif place == "file":
        out.write_text("mine")
    else:
        out.symlink_to(folder if place == "link" else tmp_path / "nowhere")
    before = out.lstat()
    with pytest.raises(SampleError, match=r"out is a (link|file)") as caught:
        SampleSet("m", (v1_sample(1, 1, 1),)).save(out)
    assert "\n" not in str(caught.value)
    assert out.lstat() == before
    assert SampleSet.open(folder) == some_samples()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "samples"]


@pytest.mark.parametrize("text", ['{"name": "an extension", "samples": []}', '["samples"]', '"samples"', "["])
def test_a_folder_with_another_kind_of_manifest_is_left_alone(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(SampleError, match="holds no sample set"):
        some_samples().save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["manifest.json"]
    assert (tmp_path / "manifest.json").read_text() == text


def test_a_link_in_a_bodys_place_is_replaced_and_what_it_names_stays(folder, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    body = next((folder / "bodies").iterdir())
    body.unlink()
    body.symlink_to(precious)
    some_samples().save(folder)
    assert precious.read_text() == "mine"
    assert SampleSet.open(folder) == some_samples()


def shared_bodies(folder: Path, entries: int, size: int) -> Path:
    """Write a set whose samples differ in their content type alone and share one body file of ``size`` bytes."""
    body = b'{"instances": [1' + b" " * (size - 18) + b"]}"
    samples = [request("v1", body, headers={"content-type": f"application/json; v={i}"}) for i in range(entries)]
    SampleSet("m", tuple(s.with_weight(1 / entries) for s in samples)).save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    shared = manifest["samples"][0]["body"]
    for entry in manifest["samples"][1:]:
        (folder / entry["body"]).unlink()
        entry["body"] = shared
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_samples_that_share_a_body_share_it_in_memory(tmp_path):
    opened = SampleSet.open(shared_bodies(tmp_path / "set", 40, 1 << 20))
    assert len(opened) == 40
    assert len({id(s.body) for s in opened}) == 1


@pytest.mark.parametrize("limit", ["MOST_BODY_BYTES", "MOST_SENT_BYTES"])
def test_a_set_whose_bodies_take_too_much_is_refused_before_one_is_read(folder, monkeypatch, limit):
    monkeypatch.setattr(manifest, limit, 100)
    shutil.rmtree(folder / "bodies")
    with pytest.raises(SampleError, match=r"bytes together, more than 100: .*--max-bytes"):
        SampleSet.open(folder)


def sparse(file: Path, size: int) -> None:
    with file.open("wb") as stream:
        stream.truncate(size)


def test_a_body_of_a_terabyte_of_holes_is_refused_unread(folder):
    sparse(next((folder / "bodies").iterdir()), 1 << 40)
    with pytest.raises(SampleError, match="instead of"):
        SampleSet.open(folder)


def test_a_body_that_claims_a_terabyte_is_refused(folder):
    body = next((folder / "bodies").iterdir())
    edit(folder, lambda m: [e.update(size=1 << 40) for e in m["samples"] if e["body"].endswith(body.name)])
    sparse(body, 1 << 40)
    with pytest.raises(SampleError, match="bytes together, more than"):
        SampleSet.open(folder)


HEAD = '{"schema":1,"model":"m","source":"","created":"","coverage":1,'
CROWDED = {
    "a million samples": lambda: HEAD + '"selection":{},"samples":[' + ",".join(["{}"] * 10**6) + "]}",
    "a million keys": lambda: HEAD + ",".join(f'"{i}":0' for i in range(10**6)) + "}",
    "a million keys of a sample": lambda: (
        HEAD + '"selection":{},"samples":[{' + ",".join(f'"{i}":0' for i in range(10**6)) + "}]}"
    ),
    "a million headers": lambda: (
        HEAD + '"selection":{},"samples":[{"headers":{' + ",".join(f'"{i}":0' for i in range(10**6)) + "}}]}"
    ),
    "a million lists": lambda: HEAD + '"samples":[],"selection":{"a":[' + ",".join(["[]"] * 10**6) + "]}}",
    "a million wrong sizes": lambda: (
        HEAD
        + '"selection":{},"samples":[{"signature":{"batched":true,"inputs":[{"name":"x","datatype":"FP32","shape":['
        + ",".join(["-9"] * 10**6)
        + "]}]}}]}"
    ),
    "a million lists in each other": lambda: HEAD + '"samples":' + "[" * 10**6 + "]" * 10**6 + "}",
    "a number of a million digits": lambda: HEAD + '"samples":[],"selection":{"a":' + "9" * 10**6 + "}}",
}


@pytest.mark.parametrize("what", CROWDED)
def test_a_manifest_that_is_crowded_is_one_short_line_and_takes_little_memory(folder, what):
    (folder / "manifest.json").write_text(CROWDED[what]())
    tracemalloc.start()
    try:
        with pytest.raises(SampleError) as failure:
            SampleSet.open(folder)
        assert tracemalloc.get_traced_memory()[1] < 256 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(failure.value)
    assert len(str(failure.value)) < 500


def test_a_manifest_of_three_gigabytes_is_refused_unread(folder):
    sparse(folder / "manifest.json", 3 << 30)
    with pytest.raises(SampleError, match=r"manifest.json has 3,221,225,472 bytes, more than"):
        SampleSet.open(folder)


@pytest.mark.parametrize("target", ["manifest.json", "bodies"])
@pytest.mark.parametrize("kind", ["pipe", "device", "socket", "folder", "nothing"])
def test_what_is_no_file_in_place_of_one_does_not_hang(folder, target, kind, monkeypatch):
    file = folder / target if target == "manifest.json" else next((folder / target).iterdir())
    file.unlink()
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            monkeypatch.chdir(file.parent)
            listener.bind(file.name)
    elif kind == "folder":
        file.mkdir()
    with pytest.raises(SampleError, match=r"missing|leads out"):
        SampleSet.open(folder)


def test_opening_a_set_holds_none_of_its_bodies(folder):
    large = tuple(request("v1", b'{"instances": ["' + bytes([97 + i]) * 4_000_000 + b'"]}') for i in range(8))
    SampleSet("m", large).save(folder)
    tracemalloc.start()
    try:
        opened = SampleSet.open(folder)
        held, peak = tracemalloc.get_traced_memory()
        assert sum(s.size for s in opened) > 32_000_000
        assert (held < 1_000_000, peak < 16_000_000) == (True, True)
        assert {s.body for s in opened} == {s.body for s in large}
    finally:
        tracemalloc.stop()


def test_a_body_that_is_changed_after_the_set_was_opened_is_one_clear_line_when_it_is_read(folder):
    made = some_samples()
    first, second, third = opened = SampleSet.open(folder)
    assert first.body == made.samples[0].body
    for one in (first, second):
        file = body_file(folder, one)
        file.write_bytes(b"X" * one.size)
    body_file(folder, third).unlink()
    assert first.body == made.samples[0].body  # one that was used, and is small, is held
    with pytest.raises(SampleError, match=rf"^{folder}: bodies/{second.id}.bin is not what was recorded \(sha256"):
        _ = second.body
    with pytest.raises(SampleError, match=f"{third.id}.pb is missing"):
        _ = third.body
    assert opened == made  # the manifest told what they are
    assert second.with_weight(0.5).id == second.id


def test_a_set_that_is_opened_unchecked_has_each_body_checked_when_it_is_read(folder):
    made = some_samples()
    body_file(folder, made.samples[0]).write_text("[]")
    first, second, _ = SampleSet.open(folder, check=False)
    assert second.body == made.samples[1].body
    with pytest.raises(SampleError, match="has 2 bytes instead of"):
        _ = first.body


def test_a_set_of_before_says_nothing_of_variants_and_one_without_any_still_does_not(folder):
    assert "variant" not in (folder / "manifest.json").read_text()
    assert {s.variant for s in SampleSet.open(folder)} == {()}
    signed = request("v1", b'{"instances": [1], "signature_name": "decode"}')
    opened = SampleSet.open(SampleSet("m", (signed,)).save(folder))
    assert [s.variant for s in opened] == [(("signature_name", "decode"),)]
    assert [s.id for s in opened] == [signed.id]
