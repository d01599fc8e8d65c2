"""What is written, and where: a file whole, a pipe or a device written to, and nothing else replaced."""

import itertools
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from users import NOBODY, as_root, run_as

from kserve_warmup import files
from kserve_warmup.files import Access, write_own, write_whole

DATA = b"report " * 40_000
"""More than a pipe takes at once."""


@pytest.fixture
def shared(tmp_path_factory):
    """A folder that everybody may write, as /tmp is."""
    folder = tmp_path_factory.mktemp("shared")
    folder.chmod(0o1777)
    ours = itertools.takewhile(lambda above: above != Path(tempfile.gettempdir()), folder.parents)
    for above in (folder, *ours):
        above.chmod(above.stat().st_mode | 0o011)
    return folder


def kind(path):
    return stat.S_IFMT(path.lstat().st_mode)


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    opened = os.open(pipe, os.O_WRONLY)  # waits for the reader
    write_whole(pipe, DATA)
    os.close(opened)
    reader.join()
    assert read == [DATA]
    assert kind(pipe) == stat.S_IFIFO
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_pipe_that_nobody_reads_is_told_and_waited_for_by_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="nobody reads from it"):
        write_whole(pipe, DATA)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(OSError, match="its reader stands still"):
        write_whole(pipe, DATA)
    os.close(reader)
    assert kind(pipe) == stat.S_IFIFO


@as_root
def test_a_device_is_written_to_and_stays_one(tmp_path):
    device = tmp_path / "null"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    write_whole(device, DATA)
    assert kind(device) == stat.S_IFCHR
    full = tmp_path / "full"
    os.mknod(full, stat.S_IFCHR | 0o666, os.makedev(1, 7))
    with pytest.raises(OSError, match="No space left"):
        write_whole(full, DATA)
    disk = tmp_path / "disk"
    os.mknod(disk, stat.S_IFBLK | 0o666, os.makedev(7, 255))
    with pytest.raises(OSError, match="it is a disk"):
        write_whole(disk, DATA)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("to", ["pipe", "file"])
def test_standard_output_is_written_to_by_its_name(tmp_path, to):
    stdout = tmp_path / "stdout"
    stdout.symlink_to("/proc/self/fd/1")  # what /dev/stdout is, which a broken test must not cost the machine
    code = (
        "import sys; from pathlib import Path; from kserve_warmup.files import write_whole\n"
        "print('before', flush=True); write_whole(Path(sys.argv[1]), b'report\\n' * 40000); print('after')"
    )
    command = [sys.executable, "-c", code, str(stdout)]
    expected = b"before\n" + b"report\n" * 40_000 + b"after\n"
    if to == "pipe":
        assert subprocess.run(command, check=True, capture_output=True).stdout == expected
    else:
        with (tmp_path / "log").open("wb") as log:
            subprocess.run(command, check=True, stdout=log)
        assert (tmp_path / "log").read_bytes() == expected
    assert stdout.is_symlink()


def test_a_link_is_followed_and_the_file_it_names_is_replaced_in_one_step(tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    target, link, another = folder / "report.json", tmp_path / "link", tmp_path / "another"
    link.symlink_to("elsewhere/report.json")
    another.symlink_to(link)
    write_whole(another, b"first")  # to where nothing is yet
    held = target.open("rb")
    write_whole(another, b"second")
    assert held.read() == b"first"
    held.close()
    assert target.read_bytes() == b"second"
    assert link.is_symlink()
    assert another.is_symlink()
    assert list(folder.iterdir()) == [target]


def test_links_in_a_circle_and_folders_are_one_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels"):
        write_whole(tmp_path / "a", b"")
    with pytest.raises(OSError, match="it is a folder"):
        write_whole(tmp_path, b"")


@as_root
def test_a_link_that_somebody_else_has_laid_where_everybody_may_is_not_followed(shared, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    run_as(NOBODY, NOBODY, lambda: (shared / "report.html").symlink_to(precious))
    with pytest.raises(OSError, match=f"a link that user {NOBODY} has made"):
        write_whole(shared / "report.html", b"x")
    assert precious.read_text() == "mine"


def test_an_own_file_takes_a_links_place_and_what_the_link_names_stays(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "own").symlink_to("precious")
    write_own(tmp_path / "own", b"x")
    assert (tmp_path / "precious").read_text() == "mine"
    assert kind(tmp_path / "own") == stat.S_IFREG


@as_root
def test_owner_group_and_mode_of_what_is_replaced_stay(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    os.chown(file, NOBODY, 4000)
    file.chmod(0o640)
    write_whole(file, b"new")
    status = file.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, 4000, 0o640)
    assert file.read_bytes() == b"new"


@as_root
def test_who_cannot_keep_the_owner_replaces_no_file_that_must_keep_it(shared):
    shared.chmod(0o777)
    file = shared / "file"
    file.write_text("old")

    def refused():
        with pytest.raises(OSError, match="belongs to user 0 and group 0, which user 65534 cannot keep"):
            write_own(file, b"new", Access.of(file.stat(), strict=True))
        assert file.read_text() == "old"
        write_whole(file, b"report")  # a report's owner matters to nobody

    run_as(NOBODY, NOBODY, refused)
    assert file.read_bytes() == b"report"
    assert list(shared.iterdir()) == [file]


@as_root
def test_who_cannot_keep_the_owner_of_a_report_keeps_its_group(shared):
    shared.chmod(0o777)
    file = shared / "report.json"
    file.write_text("old")
    os.chown(file, 0, 4000)
    file.chmod(0o640)
    run_as(NOBODY, NOBODY, lambda: write_whole(file, b"new"), groups=[4000])
    status = file.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, 4000, 0o640)


def test_a_report_goes_through_a_pipe_by_the_command_line(tmp_path):
    pipe = tmp_path / "samples.json"
    os.mkfifo(pipe)
    (tmp_path / "r.jsonl").write_text('{"instances": [[1.0]]}\n')
    code = "from kserve_warmup.cli import main; main()"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    sample = ["sample", "r.jsonl", "--model", "m", "--out", "set"]
    subprocess.run([*command, *sample], check=True, cwd=tmp_path, env=environment, capture_output=True)
    export = [*command, "inspect", "set", "--export-perf-analyzer", "samples.json"]
    alone = subprocess.run(export, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (alone.returncode, alone.stderr) == (
        2,
        "kserve-warmup: cannot write samples.json: nobody reads from it\n",
    )
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    subprocess.run(export, check=True, cwd=tmp_path, env=environment, capture_output=True)
    assert os.read(reader, 1000).startswith(b'{"data": [{"instances"')
    os.close(reader)
    assert kind(pipe) == stat.S_IFIFO
