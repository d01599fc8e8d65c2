"""What the generator writes and deletes in a repository that others use too."""

import errno
import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from triton_models import generate, model, sample, save, warmups, x
from users import NOBODY, as_root, run_as

from kserve_warmup.errors import TritonConfigError, WarmupError
from kserve_warmup.protocols.bodies import Tensor
from kserve_warmup.triton.disposable import copies
from kserve_warmup.triton.lock import LOCK_FILE, locked
from kserve_warmup.triton.model_config import parse
from kserve_warmup.triton.plan import Options
from kserve_warmup.triton.repository import apply_all, plan_repository, plan_repository_removal
from kserve_warmup.triton.warmup_files import is_whole

CODE = "from kserve_warmup.cli import main; main()"


@pytest.fixture
def repository():
    """Below a folder that any user may enter."""
    above = Path(tempfile.mkdtemp(prefix="kserve-warmup-test-"))
    above.chmod(0o755)
    (above / "models").mkdir()
    yield above / "models"
    shutil.rmtree(above)


@pytest.fixture
def sets(tmp_path):
    return tmp_path / "samples"


def rows(number):
    """Requests that differ from those of another number in every data file."""
    made = (Tensor("X", "FP32", np.full((n + 1, 4), 100 * number + n, np.float32)) for n in range(8))
    return [sample(row, weight=1 / 8) for row in made]


def generator(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", CODE, "triton", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


def loads(folder):
    """What Triton needs: every data file that the configuration names."""
    config = parse((folder / "config.pbtxt").read_bytes())
    names = {i.input_data_file for block in config.model_warmup for i in block.inputs.values()}
    return bool(names) and all(is_whole(folder, name) for name in names)


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_generators_that_run_at_once_leave_every_file_that_is_named(repository, sets):
    folders = [model(repository, name) for name in "abc"]
    for number in (1, 2):
        for folder in folders:
            save(sets / str(number), folder.name, *rows(number))
    for _ in range(6):
        both = [generator(repository, "--samples", sets / number) for number in "12"]
        for one in both:
            output, errors = one.communicate()
            assert one.returncode == 0, errors
            assert output.count("wrote") == 3 or "up to date" in output
        assert all(loads(folder) for folder in folders)
        assert all(len(list((folder / "warmup").iterdir())) == len(warmups(folder)) for folder in folders)


def test_a_second_generator_waits_and_says_so_and_not_for_ever(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    with locked(repository, print):
        second = generator(repository, "--samples", sets)
        assert second.stderr.readline() == (
            f"kserve-warmup: another generator writes to {repository}: waiting for it, 60 s at most\n"
        )
        assert not warmups(folder)
        with (
            pytest.raises(TritonConfigError, match="another generator has been writing"),
            locked(repository, lambda _: None, 0.1),
        ):
            pass
    assert second.communicate()[0].startswith("m: wrote 1 blocks")
    assert loads(folder)
    assert [p.name for p in repository.iterdir()] == ["m"]


def test_who_may_read_a_repository_may_check_it_while_another_generator_writes(repository, sets):
    model(repository, "m")
    save(sets, "m", sample(x()))
    with locked(repository, print):
        check = generator(repository, "--samples", sets, "--check")
        assert check.communicate() == ("m: out of date, it has no generated warm-up\n", "")


def test_where_a_folder_cannot_be_locked_a_file_in_it_is(repository, monkeypatch):
    """As on NFS, whose locks need something open for writing."""
    flock = fcntl.flock

    def nfs(handle, how):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", nfs)
    with locked(repository, print):
        assert (repository / LOCK_FILE).is_file()
        with pytest.raises(TritonConfigError, match="another generator"), locked(repository, lambda _: None, 0.1):
            pass
    with locked(repository, print):
        pass


def test_a_plan_whose_configuration_was_changed_in_the_meantime_is_not_carried_out(repository, sets):
    folder = model(repository, "m")
    save(sets / "1", "m", *rows(1))
    save(sets / "2", "m", *rows(2))
    late = plan_repository(repository, sets / "1", [], Options())
    generate(repository, sets / "2")
    before = tree(repository)
    with pytest.raises(TritonConfigError, match=r"^model m: its config.pbtxt was changed in the meantime; run again$"):
        apply_all(late.changed)
    assert tree(repository) == before
    assert loads(folder)


@pytest.mark.parametrize("where", ["before", "after", "in pieces", "another configuration"])
def test_a_file_that_a_block_outside_of_our_markers_names_stays(repository, sets, where):
    folder = model(repository, "m")
    save(sets / "1", "m", sample(x()))
    save(sets / "2", "m", *rows(2))
    generate(repository, sets / "1")
    config = folder / "config.pbtxt"
    text = config.read_text()
    begin = text.index("model_warmup")
    block = text[begin : text.index("# <<<")]
    (named,) = (folder / "warmup").iterdir()
    if where == "in pieces":
        block = block.replace('"kserve-warmup-', '"kserve-\\x77arm" "up-')
        assert named.name not in block
    if where == "another configuration":
        (folder / "configs").mkdir()
        (folder / "configs" / "a.pbtxt").write_text(block)
    else:
        config.write_text(text + block if where == "after" else block + text)
    generate(repository, sets / "2")
    assert named.exists()
    assert loads(folder)
    apply_all(plan_repository_removal(repository, []).changed)
    assert [p.name for p in (folder / "warmup").iterdir()] == [named.name]
    if where != "another configuration":
        assert loads(folder)


def test_a_linked_model_is_written_to_by_no_name_but_its_own(repository, sets, tmp_path):
    model(tmp_path, "real")
    (repository / "m").symlink_to(tmp_path / "real")
    save(sets, "m", sample(x()))
    before = tree(tmp_path / "real")
    with pytest.raises(TritonConfigError, match=r"^(model m: )?\S+/models/m is a link: name the repository"):
        generate(repository, sets)
    with pytest.raises(TritonConfigError, match="is a link"):
        plan_repository_removal(repository, ["m"])
    assert tree(tmp_path / "real") == before


def test_links_where_nothing_is_written_are_nobodys_business(repository, sets, tmp_path):
    linked, folder = model(tmp_path, "linked"), model(repository, "m")
    (repository / "linked").symlink_to(linked)
    (folder / "1").rmdir()
    (folder / "1").symlink_to(linked / "1")
    save(sets, "m", sample(x()))
    generate(repository, sets)
    assert loads(folder)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_a_configuration_that_is_no_file_is_one_line_and_nothing_is_waited_for(repository, sets, kind):
    folder = model(repository, "m", None)
    config = folder / "config.pbtxt"
    if kind == "pipe":
        os.mkfifo(config)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(config))
    elif kind == "folder":
        config.mkdir()
    elif os.geteuid() == 0:
        os.mknod(config, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero, which never ends
    else:
        config.symlink_to("/dev/zero")
    save(sets, "m", sample(x()))
    run = generator(repository, "--samples", sets, "--model", "m")
    output, errors = run.communicate(timeout=60)
    assert (run.returncode, output) == (2, "")
    assert errors.count("\n") == 1
    assert f"{config}: it is no regular file" in errors or f"{config} is a link" in errors


def test_a_pipe_in_a_data_files_place_is_not_waited_for(repository, sets):
    folder = model(repository, "m")
    save(sets, "m", sample(x()))
    generate(repository, sets)
    (data,) = (folder / "warmup").iterdir()
    data.unlink()
    os.mkfifo(data)
    run = generator(repository, "--samples", sets)
    assert run.communicate(timeout=60)[0].startswith("m: wrote")
    assert loads(folder)


@as_root
def test_owner_and_group_stay_and_the_servers_user_reads_what_root_has_written(repository, sets):
    folder = model(repository, "m")
    config = folder / "config.pbtxt"
    os.chown(config, NOBODY, 4000)
    config.chmod(0o640)
    save(sets, "m", sample(x()))
    umask = os.umask(0o077)
    try:
        generate(repository, sets)
    finally:
        os.umask(umask)
    for file in (config, *(folder / "warmup").iterdir()):
        status = file.stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, 4000, 0o640)
    assert stat.S_IMODE((folder / "warmup").stat().st_mode) == 0o750

    def server():
        assert loads(folder)

    run_as(1234, 4000, server)


@as_root
def test_a_configuration_that_is_made_can_be_read_by_who_reads_its_folder(repository, sets):
    folder = model(repository, "m", None)
    (folder / "1" / "model.py").touch()
    save(sets, "m", sample(x()))
    umask = os.umask(0o077)
    try:
        generate(repository, sets, create=True)
    finally:
        os.umask(umask)

    def server():
        assert loads(folder)

    run_as(NOBODY, NOBODY, server)


@as_root
def test_a_configuration_of_another_owner_is_not_taken_over(repository, sets):
    folder = model(repository, "m")
    folder.chmod(0o777)
    save(sets, "m", sample(x()))
    plan = plan_repository(repository, sets, [], Options())
    before = tree(repository)

    def refused():
        with pytest.raises(TritonConfigError, match=r"^model m: cannot write \S+: it belongs to user 0 and group 0"):
            apply_all(plan.changed)

    run_as(NOBODY, NOBODY, refused)
    assert tree(repository) == before
    assert not (folder / "warmup").exists()


@pytest.mark.parametrize("kind", ["pipe", "link to nowhere", "link to a device"])
def test_a_model_that_cannot_be_copied_is_one_line(repository, kind):
    folder = model(repository, "m")
    odd = folder / "1" / "weights"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to("nowhere" if kind == "link to nowhere" else "/dev/zero")
    with pytest.raises(WarmupError, match=rf"^model m: cannot copy {odd}: ") as caught, copies(repository, ["m"]):
        pass
    assert "\n" not in str(caught.value)
