"""Triton's image: its blocks ran, stale or bad ones do not get into an image, broken ones never turn ready."""

import io
import re
import shutil
import subprocess
import sys

import docker
import pytest
from docker_servers import BASE, LABEL, MODEL, ROOT, SAMPLES, TRITON, grpc_ready

from kserve_warmup import SampleSet
from kserve_warmup.triton.prove import prove

REQUIREMENTS = """
from importlib.metadata import requires
print(*(one for one in requires("kserve-warmup") if ";" not in one and not one.startswith("kserve")))
"""
DOCKERFILE = ROOT / "docker/Dockerfile.triton"


@pytest.fixture
def project(tmp_path, repositories):
    """A project whose generated warm-up is in git, as a team has it; ``edit`` changes its config.pbtxt."""
    folder = tmp_path / "project"
    shutil.copytree(repositories.warm, folder / "models")
    shutil.copytree(SAMPLES, folder / "samples")
    (folder / "requirements.txt").write_text("")
    return folder


def edit(project, pattern, replacement):
    config = project / "models" / MODEL / "config.pbtxt"
    text, changes = re.subn(pattern, replacement, config.read_text(), count=1)
    assert changes == 1
    config.write_text(text)


@pytest.fixture(scope="module")
def generator(client):
    """The image that checks, with the run's label: what a refused build leaves behind inherits it."""
    image, _ = client.images.build(fileobj=io.BytesIO(f"FROM {BASE}".encode()), labels=LABEL, rm=True)
    return image.id


@pytest.fixture
def build(client, project, generator):
    """Build the project's image as a pipeline would; return the image's name and what the build said."""

    def _build(**arguments):
        tag = f"kserve-warmup/test-{LABEL['kserve-warmup.run']}"
        arguments = {"TRITON_IMAGE": TRITON, "KSERVE_WARMUP_IMAGE": generator} | arguments
        _, log = client.images.build(
            path=str(project),
            dockerfile=str(DOCKERFILE),
            buildargs=arguments,
            labels=LABEL,
            tag=tag,
            network_mode="none",
            nocache=True,
            rm=True,
            forcerm=True,
        )
        return tag, said(log)

    return _build


def said(log):
    return "".join(line.get("stream", "") for line in log)


def test_a_project_whose_warm_up_is_up_to_date_builds_and_runs_every_block(build, triton, repositories):
    image, log = build()
    assert f"{MODEL}: up to date" in log
    server = triton(image=image).wait_ready()
    (proof,) = prove(repositories.warm, server.http.url, [MODEL])
    assert proof.counts.batches == ((1, 4), (8, 2))


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r"batch_size: 8", "batch_size: 0"),  # Triton skips such a block without a word
        (r"dims: \[64\]", "dims: [63]"),
        (r"kserve-warmup-[0-9a-f]+\.bin", "missing.bin"),
        (r"(?s)# >>> kserve-warmup.*<<<\n", ""),
    ],
)
def test_a_bad_stale_or_missing_block_is_refused_at_build_time(build, project, pattern, replacement):
    edit(project, pattern, replacement)
    with pytest.raises(docker.errors.BuildError) as refused:
        build()
    assert re.search(rf"{MODEL}: out of date|model {MODEL}: ", said(refused.value.build_log))


def test_new_samples_make_an_image_stale_and_generating_mends_it(build, project):
    recorded = SampleSet.open(SAMPLES)
    SampleSet(MODEL, tuple(sample for sample in recorded if sample.batch == 1)).save(project / "samples")
    with pytest.raises(docker.errors.BuildError, match="returned a non-zero code: 1"):
        build()
    _, log = build(WARMUP="generate")
    assert "wrote 1 blocks" in log
    assert f"{MODEL}: up to date" in log


@pytest.fixture
def wheels(client, generator, project):
    """What the bake needs beside Triton, for a build without network."""
    options = ["--quiet", "--only-binary=:all:", "--python-version=3.11", f"--dest={project / 'wheels'}"]
    wanted = client.containers.run(generator, ["-c", REQUIREMENTS], entrypoint="python3", remove=True).decode()
    command = [sys.executable, "-m", "pip", "download", *options, *wanted.split(), "numpy<2"]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.usefixtures("wheels")
def test_a_baked_image_starts_with_what_its_models_have_compiled_and_an_unmapped_user_may_too(build, triton):
    image, log = build(BAKE="yes", PIP_NO_INDEX="1")
    assert "the proofs wrote 0 and 0 files anew" in log
    server = triton(image=image, user="1234567:0").wait_ready()
    assert "files of compile caches are at hand" in server.log
    assert server.infer()["digit"]
    files = server.container.exec_run(["sh", "-c", "ls -l /tmp/kserve-warmup-caches-*/caches/numba/*"]).output.decode()
    programs = [line for line in files.splitlines() if line.endswith((".nbc", ".nbi"))]
    assert programs
    assert all(line.startswith("l") for line in programs)  # links to what was baked: nothing was compiled anew


def test_a_block_whose_data_is_missing_never_turns_ready(triton, project):
    for data in (project / "models" / MODEL / "warmup").iterdir():
        data.unlink()
    server = triton(mounts=[(project / "models", "/models", "ro")])
    assert server.never_ready_until_it_ends() == 1
    assert "failed to load all models" in server.log


def test_a_triton_with_too_little_memory_for_a_block_never_turns_ready(triton, repositories):
    mounts = [(repositories.hungry, "/models", "ro")]
    server = triton(mounts=mounts, mem_limit="600m")
    # tritonserver 2.51 often crashes when its Python stub is killed in a warm-up, instead of failing the load
    assert server.never_ready_until_it_ends() in (1, 139)
    assert server.state["OOMKilled"]
    assert triton(mounts=mounts).wait_ready().infer()["digit"]  # the same blocks, with memory enough


def test_triton_loses_readiness_with_a_restart_and_gets_it_back_with_the_warm_up(triton, repositories):
    server = triton().wait_ready()
    server.infer()
    server.container.restart(timeout=20)
    server.wait_ready()
    assert prove(repositories.warm, server.http.url, [MODEL])  # statistics start anew with the server


def test_a_paused_triton_gives_no_answer_and_an_unpaused_one_is_ready_at_once(triton):
    server = triton().wait_ready()
    rpc = server.address(8001)
    server.container.pause()
    assert not grpc_ready(rpc)
    server.container.unpause()
    assert grpc_ready(rpc)
    assert server.infer()["digit"]
