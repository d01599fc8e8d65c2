"""What a start uses of a baked folder, whatever became of it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from users import as_root

from kserve_warmup.caches import baked
from kserve_warmup.caches.bake_result import BakedStart, BakeResult, start_of
from kserve_warmup.caches.fingerprint import Fingerprint, FingerprintError, Seal
from kserve_warmup.caches.framework import CacheCount
from kserve_warmup.caches.this_machine import of_this_machine, seals
from kserve_warmup.caches.trust import distrusted
from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.report import StratumReport, WarmupReport

IN_PLACE = settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FILES = {"caches/numba/a.nbc": b"first program", "caches/jax/b": b"second", "profile.json": b"{}"}


@pytest.fixture
def here():
    return of_this_machine()


@pytest.fixture
def warm(tmp_path, here):
    folder = tmp_path / "warm"
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / "fingerprint.json").write_text(replace(here, files=seals(folder)).to_json())
    return folder


def begun(warm, monkeypatch, trust="writable", mode="use"):
    """Return what a start makes of the folder, in this process; the environment is put back by the caller."""
    monkeypatch.setattr(baked, "BAKED", baked.Baked())
    for name, value in {"BAKED": warm, "CACHE": mode, "CACHE_TRUST": trust}.items():
        monkeypatch.setenv(f"KSERVE_WARMUP_{name}", str(value))
    kept = dict(os.environ)
    try:
        baked.begin()
    finally:
        os.environ.clear()
        os.environ.update(kept)
    return baked.BAKED


def used(found):
    """Return what frameworks would read, by path."""
    if found.caches is None:
        return {}
    root = found.caches.parent
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def test_what_is_as_it_was_baked_is_used(warm, monkeypatch):
    found = begun(warm, monkeypatch)
    assert found.note is None
    assert used(found) == {path: data for path, data in FILES.items() if path.startswith("caches/")}
    assert baked.baked_profile() == warm / "profile.json"


@IN_PLACE
@given(which=st.sampled_from(sorted(FILES)), data=st.binary(max_size=40))
def test_a_file_that_was_changed_is_never_used(warm, monkeypatch, which, data):
    (warm / which).write_bytes(data)
    found = begun(warm, monkeypatch)
    for path, content in used(found).items():
        assert content == FILES[path]
    if which == "profile.json":
        assert (baked.baked_profile() is None) == (data != FILES[which])
    elif data != FILES[which]:
        assert which not in used(found)
        assert "left out" in found.note
    (warm / which).write_bytes(FILES[which])


@IN_PLACE
@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_a_changed_fingerprint_crashes_nothing_and_what_it_lets_through_is_said_or_as_baked(
    warm, monkeypatch, at, byte, cut
):
    file = warm / "fingerprint.json"
    whole = file.read_bytes()
    at %= len(whole)
    file.write_bytes(whole[:at] if cut else whole[:at] + bytes([byte]) + whole[at + 1 :])
    try:
        found = begun(warm, monkeypatch)
        assert all(FILES[path] == content for path, content in used(found).items())
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "caches/../../x", "../x", "caches", "caches//x", "other/x", "caches/./x", "caches/a\0b", ""]
)
def test_a_path_that_leaves_the_folder_is_refused(here, path):
    text = replace(here, files={path: Seal(1, "0" * 64)}).to_json()
    with pytest.raises(FingerprintError):
        Fingerprint.from_json(text)


@pytest.mark.parametrize(
    "values",
    [
        {"schema": 2},
        {"flags": "avx"},
        {"flags": [1]},
        {"packages": {"numba": 1}},
        {"compiled": {"numba": -1}},
        {"compiled": {"numba": True}},
        {"files": {"caches/a": {"size": 1e9, "sha256": "0" * 64}}},
        {"files": {"caches/a": {"size": 1, "sha256": "0"}}},
        {"files": {"caches/a": None}},
        {"more": 1},
        {"python": None},
    ],
)
def test_a_value_that_is_none_of_its_kind_is_refused(here, values):
    with pytest.raises(FingerprintError):
        Fingerprint.from_json(json.dumps(json.loads(here.to_json()) | values))


def test_a_difference_is_named_and_refuses_what_depends_on_it(here):
    assert here.differences(here) == ()
    other = replace(here, flags=(*here.flags, "avx1024"))
    assert other.refusing(here) == ("processor flags: avx1024 is missing here",)
    assert here.refusing(other) == ()
    assert "avx1024" in here.only_said(other)[0]
    assert replace(here, gpu="NVIDIA X (9.0)").refusing(replace(here, gpu=""))[0].startswith("GPU: baked with NVIDIA X")
    newer = replace(here, packages={**here.packages, "jaxlib": "99"})
    assert here.refusing(newer) == ()
    assert list(here.refusing_parts(newer)) == ["jax"]
    assert "code: " in replace(here, code="a").only_said(replace(here, code="b"))[0]


def test_the_code_is_what_lies_below_the_working_folder(tmp_path):
    (tmp_path / "a.py").write_text("1")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.py").write_text("1")
    before = of_this_machine(project=tmp_path).code
    (tmp_path / ".hidden" / "b.py").write_text("2")
    assert of_this_machine(project=tmp_path).code == before
    (tmp_path / "a.py").write_text("2")
    assert of_this_machine(project=tmp_path).code != before


def test_a_folder_that_all_may_write_is_distrusted_and_the_way_out_is_told(warm):
    why = distrusted(warm, mounts=mounts(warm.parent / "mounts", "overlay"))
    assert "may be written by a group or by all" in why  # /tmp
    assert "KSERVE_WARMUP_CACHE_TRUST=writable" in why
    assert "\n" not in why


def mounts(file: Path, kind: str, *points: str) -> Path:
    lines = [f"1 0 0:1 / / rw - {kind} {kind} rw", *(f"2 1 0:2 / {point} rw - ext4 x rw" for point in points)]
    file.write_text("\n".join(lines))
    return file


@as_root  # which writes below /opt
def test_the_image_is_trusted_and_a_volume_in_it_is_not(tmp_path):
    folder = Path("/opt") / f"kserve-warmup-unit-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        (folder / "a").write_bytes(b"")
        assert distrusted(folder, mounts=mounts(tmp_path / "m", "overlay")) is None
        assert "root's" in distrusted(folder, mounts=mounts(tmp_path / "m", "overlay", str(folder)))
        assert "root's" in distrusted(folder, mounts=mounts(tmp_path / "m", "ext4"))
        (folder / "out").symlink_to(tmp_path)
        assert "leads out" in distrusted(folder, mounts=mounts(tmp_path / "m", "overlay"))
        (folder / "out").unlink()
        (folder / "a").chmod(0o666)
        assert "written by a group or by all" in distrusted(folder, mounts=mounts(tmp_path / "m", "overlay"))
    finally:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def test_a_writable_folder_is_used_only_when_told_so(warm, monkeypatch):
    found = begun(warm, monkeypatch, trust="readonly")
    assert used(found) == {}
    assert "KSERVE_WARMUP_CACHE_TRUST" in found.note
    assert baked.baked_profile() is None


def test_required_and_refused_ends_in_one_line(warm, monkeypatch):
    (warm / "fingerprint.json").write_text("{")
    with pytest.raises(baked.RequiredCacheError, match=r"^KSERVE_WARMUP_CACHE=require: .*it is not JSON"):
        begun(warm, monkeypatch, mode="require")


def test_required_caches_may_lack_what_no_cache_kept_when_they_were_baked(monkeypatch):
    monkeypatch.setattr(baked, "BAKED", baked.Baked(begun=True, required=True, compiled={"numba": 2}))
    baked.refuse_compiled((CacheCount("numba", 1, 2),))
    with pytest.raises(WarmupFailedError, match="numba compiled 3 programs, 2 of which no cache keeps"):
        baked.refuse_compiled((CacheCount("numba", 1, 3),))


def test_a_report_tells_what_caches_gave_in_a_line_and_in_json():
    counts = (CacheCount("numba", 3, 0, 0), CacheCount("JAX", 4, 1, 1, 10.2), CacheCount("OpenVINO", told=False))
    report = WarmupReport("m", "rest", 1.0, (), cache=counts)
    assert report.cache_summary == "7 of 8 programs hit, 1 compiled, 1 of them rejected, 10.2 s saved"
    assert WarmupReport.from_json(report.to_json()) == report
    assert WarmupReport("m", "rest", 1.0, ()).cache_summary == ""
    assert WarmupReport("m", "in process", 1.0, ()).then(report).cache == counts


def stratum(**values):
    told = {"first_ms": 5.0, "steady_ms": 1.0, "converged": True, "failures": 0, "error": None} | values
    return StratumReport("v2", "x:FP32[N]", 1, 1.0, 9, 0.1, **told)


def test_a_machine_may_be_too_noisy_to_see_steady():
    found = start_of([WarmupReport("m", "rest", 1.0, (stratum(converged=False),))], 2.0)
    assert (found.steady, found.first_seconds) == (False, 0.005)


@pytest.mark.parametrize("outside", [True, False])
def test_a_model_that_refuses_everything_or_was_not_reached_is_not_baked(outside):
    none = {"first_ms": None, "steady_ms": None, "converged": False}
    for values in (none | {"refused": 1, "error": "HTTP 400"}, none | {"error": "not reached"}):
        with pytest.raises(WarmupFailedError, match="nothing was baked"):
            start_of([WarmupReport("m", "rest", 1.0, (stratum(**values),))], 2.0, outside=outside)


def test_what_no_one_counted_is_not_called_a_hit():
    first = BakedStart(2.0, 10.0, 50, True, (), outside=True, first_seconds=7.7)
    proof = BakedStart(2.0, 3.0, 50, True, (), outside=True, written=1, first_seconds=0.9)
    lines = BakeResult("/opt/warm", (first, proof, replace(proof, written=0)), 2_000_000, 3, profile=False).lines()
    assert lines[0] == "/opt/warm: 3 files, 2.0 MB"
    assert lines[1].startswith("warm after 12.0 s, from what was baked after 5.0 s (2.0 s to ready, 10.0 s of warm-up")
    assert lines[2] == "the proofs wrote 1 and 0 files anew; what is hit such a server does not tell"
