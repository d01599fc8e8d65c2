"""What cannot be warmed never turns ready: the container ends, and its last line says what was wrong."""

import json
import shutil

import numpy as np
import pytest
from docker_servers import SAMPLES

from kserve_warmup import SampleSet
from kserve_warmup.protocols.bodies import encode, request
from kserve_warmup.protocols.tensors import Tensor

GIGABYTE = 10**9


@pytest.fixture
def poisoned(tmp_path):
    """A copy of the example's sample set, to be damaged."""
    folder = tmp_path / "samples"
    shutil.copytree(SAMPLES, folder)
    return folder


def edit_manifest(folder, change):
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    change(manifest["samples"][0], folder)
    file.write_text(json.dumps(manifest))


def change_a_byte(sample, folder):
    body = folder / sample["body"]
    body.write_bytes(body.read_bytes()[:-1] + b" ")


def lead_out_of_the_folder(sample, _):
    sample["body"] = "../../../etc/passwd"


def lead_out_by_a_link(sample, folder):
    body = folder / sample["body"]
    body.unlink()
    body.symlink_to("/etc/passwd")


def grow_beyond_what_was_recorded(sample, folder):
    with (folder / sample["body"]).open("r+b") as body:
        body.truncate(10 * GIGABYTE)  # sparse: it takes no room


@pytest.mark.parametrize(
    ("damage", "last_words"),
    [
        (change_a_byte, "is not what was recorded (sha256 differs)"),
        (lead_out_of_the_folder, "../../../etc/passwd"),
        (lead_out_by_a_link, "leads out of the sample set's folder"),
        (grow_beyond_what_was_recorded, "has 10000000000 bytes instead of"),
    ],
)
def test_a_poisoned_sample_set_ends_the_container_with_one_clear_line(kserve, poisoned, report, damage, last_words):
    edit_manifest(poisoned, damage)
    server = kserve(mounts=[(poisoned, "/samples", "ro")], samples="/samples", mem_limit="1g")
    assert server.never_ready_until_it_ends() in (1, 2)
    assert server.last_line.startswith("kserve-warmup: ")
    assert last_words in server.last_line
    assert "Traceback" not in server.log
    assert report() is None


def test_a_request_that_the_model_cannot_take_ends_the_container(kserve, tmp_path, report):
    body, headers = encode("v2", [Tensor("image", "BYTES", np.array([[b"no"] * 64], dtype=object))])
    SampleSet("digits_knn", (request("v2", body, headers=headers),)).save(tmp_path / "samples")
    server = kserve(mounts=[(tmp_path / "samples", "/samples", "ro")], samples="/samples")
    assert server.never_ready_until_it_ends() == 1
    assert server.last_line.startswith("kserve-warmup: digits_knn: 1 of 1 strata cannot be warmed over rest")
    assert report() is None


@pytest.mark.parametrize(
    ("settings", "last_words"),
    [
        ({"samples": "/nowhere"}, "/nowhere holds no sample set"),
        ({"mounts": "empty"}, "no sample set and no get_input_types(), so nothing can be warmed"),
    ],
)
def test_a_missing_sample_set_ends_the_container(kserve, tmp_path, settings, last_words):
    if "mounts" in settings:
        (tmp_path / "empty").mkdir()
        settings = {"mounts": [(tmp_path / "empty", "/mnt/models", "ro")]}  # an artifact without samples
    server = kserve(**settings)
    assert server.never_ready_until_it_ends() == 2
    assert last_words in server.last_line


def test_too_little_memory_for_a_request_kills_the_container_and_its_last_line_names_the_request(kserve, report):
    server = kserve("Hungry", mem_limit="500m")
    code = server.never_ready_until_it_ends()
    assert (code, server.state["OOMKilled"]) == (137, True)
    assert "warming v2 image:FP32[N,64] batch 8 over in_process" in server.last_line
    assert report() is None


def test_the_same_requests_are_warmed_where_memory_is_enough(kserve, report):
    kserve("Hungry", mem_limit="1g", max_calls=5).wait_ready()
    assert all(stratum["calls"] for stratum in report()["strata"])


def test_a_read_only_file_system_is_enough(kserve):
    server = kserve(read_only=True, tmpfs={}).wait_ready()
    assert server.infer()["calls"][0] > 0


def test_a_report_that_cannot_be_written_is_an_error_in_the_log_and_the_model_is_warm_all_the_same(kserve):
    server = kserve(report="/app/report.json").wait_ready()
    assert "cannot write the warm-up report /app/report.json: Read-only file system" in server.log
    assert server.infer()["calls"][0] > 0


def test_a_full_disk_leaves_no_half_written_report(kserve):
    full = {"/tmp": "", "/small": "size=4k,mode=1777"}
    server = kserve(report="/small/report.json", tmpfs=full).wait_ready()
    assert "cannot write the warm-up report /small/report.json: No space left on device" in server.log
    assert server.container.exec_run("ls -A /small").output == b""
