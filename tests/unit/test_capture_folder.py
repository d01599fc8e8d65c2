"""A model's recorded requests: only own files in an own folder are written, counted, deleted or replayed."""

import logging
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from users import NOBODY, as_root, run_as

from kserve_warmup.capture.capturing import Capture, recorded_samples
from kserve_warmup.capture.private_folder import open_private, own_files
from kserve_warmup.capture.ring import Ring
from kserve_warmup.errors import SampleError
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.settings import WarmupSettings

OWN = "kserve-warmup-20260501T080000.000000-0123abcd.jsonl"
LINE = b'{"instances": [[1, 2]]}\n'


@pytest.fixture
def mount():
    """A volume that everybody may write, as an emptyDir or a persistent volume is."""
    folder = Path(tempfile.mkdtemp(prefix="kserve-warmup-test-"))
    folder.chmod(0o2777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def settings(mount):
    return WarmupSettings(capture_dir=mount, capture_rate=1)


def folder_of_ours(mount, mode=0o700):
    folder = mount / "m"
    folder.mkdir()
    folder.chmod(mode)
    return folder


def plant(folder, name=OWN, mode=0o600, content=LINE):
    file = folder / name
    file.write_bytes(content)
    file.chmod(mode)
    return file


def fill(folder):
    """Write until the oldest files have gone several times over."""
    ring = Ring(folder, 4_000)
    for number in range(600):
        ring.append([b'{"instances": [[%d]]}\n' % number])
    ring.close()


def record_and_replay(settings):
    capture = Capture()
    capture.add("m", settings)
    capture.get("m").offer(Record("", 0, LINE.strip(), {}, "/v1/models/m:predict", "v1", 200, 1.5))
    capture.clear()
    return recorded_samples(settings, "m")


@pytest.mark.parametrize("name", ["notes.jsonl", "20260501T080000.000000-0123abcd.jsonl", f"my-{OWN}", f"{OWN}.jsonl"])
def test_files_of_other_people_are_neither_deleted_nor_replayed(mount, settings, name):
    folder = folder_of_ours(mount)
    theirs = plant(folder, name, content=LINE * 400)
    fill(folder)
    assert theirs.read_bytes() == LINE * 400
    for file in folder.glob("kserve-warmup-2*"):
        if file != theirs:
            file.unlink()
    assert recorded_samples(settings, "m") == ()


def test_files_of_other_people_take_nothing_from_the_limit(mount):
    folder = folder_of_ours(mount)
    plant(folder, "notes.jsonl", content=b"x" * 100_000)
    fill(folder)
    handle = open_private(folder)
    assert sum(own_files(handle).values()) > 3_000
    os.close(handle)


@pytest.mark.parametrize("make", ["link", "hard link", "pipe", "folder", "open to all"])
def test_what_bears_an_own_name_and_is_no_file_of_ours_alone_is_left(mount, settings, make):
    folder, victim = folder_of_ours(mount), plant(mount, "victim", content=LINE * 400)
    planted = folder / OWN
    if make == "link":
        planted.symlink_to(victim)
    elif make == "hard link":
        planted.hardlink_to(victim)
    elif make == "pipe":
        os.mkfifo(planted)
    elif make == "folder":
        planted.mkdir()
    else:
        plant(folder, mode=0o666)
    assert recorded_samples(settings, "m") == ()
    fill(folder)
    assert os.path.lexists(planted)
    assert victim.read_bytes() == LINE * 400


def test_a_link_in_the_folders_place_is_not_followed(mount, settings, tmp_path, caplog):
    plant(tmp_path, content=LINE * 400)
    (mount / "m").symlink_to(tmp_path)
    assert recorded_samples(settings, "m") == ()
    capture = Capture()
    with caplog.at_level(logging.ERROR, "kserve.warmup"):
        capture.add("m", settings)
    assert not capture
    line = caplog.messages[-1]
    assert f"NOT recorded: {mount}/m is a link" in line
    with pytest.raises(SampleError, match="is a link"):
        fill(mount / "m")
    assert [f.name for f in tmp_path.iterdir()] == [OWN]


def test_an_own_folder_that_others_can_write_is_shut(mount, settings):
    folder = folder_of_ours(mount, 0o777)
    assert len(record_and_replay(settings)) == 1
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_that_takes_the_place_of_the_folder_while_it_is_written_leads_nowhere(mount, tmp_path):
    victim = plant(tmp_path, content=LINE * 400)
    folder = mount / "m"
    ring = Ring(folder, 4_000)
    ring.append([LINE])
    folder.rename(mount / "away")
    folder.symlink_to(tmp_path)
    ring.append([LINE])
    assert [f.read_bytes() for f in (mount / "away").iterdir()] == [LINE * 2]
    with pytest.raises(SampleError, match="is a link"):
        ring.append([LINE * 100])
    ring.close()
    assert [f.name for f in tmp_path.iterdir()] == [victim.name]


def test_a_model_with_an_impossible_name_is_served_without_recording(settings):
    assert recorded_samples(settings, "m" * 300) == ()
    capture = Capture()
    capture.add("m" * 300, settings)
    capture.clear()


@as_root
def test_what_another_user_has_planted_is_neither_replayed_nor_deleted(mount, settings):
    folder = folder_of_ours(mount, 0o777)
    run_as(NOBODY, NOBODY, lambda: plant(folder, content=LINE * 400))
    assert recorded_samples(settings, "m") == ()
    fill(folder)
    assert (folder / OWN).read_bytes() == LINE * 400


@as_root
def test_another_users_folder_is_refused_in_one_line_and_serving_goes_on(mount, settings, caplog):
    run_as(NOBODY, NOBODY, lambda: plant(folder_of_ours(mount, 0o777)))
    with caplog.at_level(logging.WARNING, "kserve.warmup"):
        assert recorded_samples(settings, "m") == ()
        capture = Capture()
        capture.add("m", settings)
    assert not capture
    assert all(f"{mount}/m belongs to user {NOBODY} and not to 0" in line for line in caplog.messages)
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert [f.name for f in (mount / "m").iterdir()] == [OWN]


@as_root
def test_a_link_that_another_user_has_made_is_not_taken_for_the_volume(mount, tmp_path):
    run_as(NOBODY, NOBODY, lambda: (mount / "link").symlink_to(tmp_path))
    with pytest.raises(SampleError, match=f"a link that user {NOBODY} has made"):
        fill(mount / "link" / "m")
    assert list(tmp_path.iterdir()) == []


@as_root
@pytest.mark.parametrize("mode", [0o2777, 0o2770, 0o777])
def test_pods_of_any_one_user_share_a_volume(mount, settings, mode):
    """The mount is root's and open to the pods' fsGroup; their user has no name."""
    os.chown(mount, 0, 4000)
    mount.chmod(mode)
    for pods in (1, 2, 3):
        run_as(100_070, 0, lambda: record_and_replay(settings)[0].batch, groups=[4000])
        assert len(list((mount / "m").iterdir())) == pods
    assert (mount / "m").stat().st_uid == 100_070
    assert (mount / "m").stat().st_mode & 0o777 == 0o700


@as_root
def test_what_a_volumes_group_was_given_at_its_mount_is_still_replayed(mount, settings):
    """At every mount of a volume with fsGroup all below it is made the group's to write."""

    def pod():
        assert len(record_and_replay(settings)) == 1

    run_as(100_070, 0, pod, groups=[4000])
    folder = mount / "m"
    os.chown(folder, 100_070, 4000)
    folder.chmod(0o2770)
    for file in folder.iterdir():
        os.chown(file, 100_070, 4000)
        file.chmod(0o660)

    def again():
        assert len(recorded_samples(settings, "m")) == 1
        assert folder.stat().st_mode & 0o777 == 0o700

    run_as(100_070, 0, again, groups=[4000])
