"""Containers that end with their test."""

import contextlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import docker
import pytest
from docker_servers import KSERVE, LABEL, MODEL, PROBE, ROOT, SAMPLES, TRITON, Container, connect


@pytest.fixture(scope="session")
def client():
    """A client of the daemon; whatever carries the run's label goes with it."""
    client = connect()
    yield client
    mine = {"label": f"kserve-warmup.run={LABEL['kserve-warmup.run']}"}
    for container in client.containers.list(all=True, filters=mine):
        container.remove(force=True, v=True)
    for image in client.images.list(filters=mine):
        with contextlib.suppress(docker.errors.ImageNotFound):  # it went with another one
            client.images.remove(image.id, force=True)
    client.close()


@pytest.fixture
def start(client):
    """Start containers; whatever happens they are removed at the end of the test."""
    started = []

    def _start(*args, **options):
        started.append(Container(client, *args, **options))
        return started[-1]

    yield _start
    for server in started:
        with contextlib.suppress(docker.errors.NotFound):
            server.container.remove(force=True, v=True)


@pytest.fixture
def reports(tmp_path):
    """A folder that the user inside the container may write to."""
    folder = tmp_path / "reports"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture
def report(reports):
    """Return the warm-up report, None while there is none."""

    def _report():
        file = reports / "report.json"
        return json.loads(file.read_text()) if file.exists() else None

    return _report


@pytest.fixture
def kserve(start, reports):
    """Start the example's predictor with KServe; small letters are settings of the warm-up."""

    def _start(predictor="Counting", *arguments, mounts=(), environment=None, **settings):
        options = {key: settings.pop(key) for key in tuple(settings) if key in ("mem_limit", "read_only", "tmpfs")}
        variables = {f"KSERVE_WARMUP_{key.upper()}": str(value) for key, value in settings.items()}
        variables = {"KSERVE_WARMUP_REPORT": "/reports/report.json"} | variables | (environment or {})
        return start(
            KSERVE,
            [f"probe:{predictor}", f"--model_name={MODEL}", *arguments],
            http=8080,
            grpc=8081,
            mounts=[(PROBE, "/app/probe.py", "ro"), (reports, "/reports", "rw"), *mounts],
            environment=variables,
            **options,
        )

    return _start


@pytest.fixture
def triton(start):
    """Start Triton with the image's model repository."""

    def _start(*arguments, image=TRITON, **options):
        command = ["tritonserver", "--model-repository=/models", *arguments]
        return start(image, command, http=8000, grpc=8001, **options)

    return _start


@pytest.fixture(scope="session")
def repositories(tmp_path_factory):
    """The image's model repository made anew; without warm-up; with one that takes ages; needing 100 MB a row."""
    folder = tmp_path_factory.mktemp("repositories")
    warm, cold, endless, hungry = (folder / name for name in ("warm", "cold", "endless", "hungry"))
    for repository in (warm, cold, endless, hungry):
        shutil.copytree(ROOT / "model_repository" / MODEL, repository / MODEL)
    run("triton", warm, "--samples", SAMPLES)
    run("triton", cold, "--remove")
    run("triton", endless, "--samples", SAMPLES, "--count", "1000000", "--no-prove-load")
    run("triton", hungry, "--samples", SAMPLES, "--count", "1", "--no-prove-load")
    with (hungry / MODEL / "1/core.py").open("a") as core:
        core.write(HUNGRY)
    return SimpleNamespace(warm=warm, cold=cold, endless=endless, hungry=hungry)


HUNGRY = """

def load(folder: Path, load=load) -> Callable[[Arrays], Arrays]:
    answer = load(folder)

    def hungry(inputs: Arrays) -> Arrays:
        assert np.ones((len(inputs["image"]), 100_000_000), np.uint8).any()
        return answer(inputs)

    return hungry
"""


def run(*arguments):
    subprocess.run([sys.executable, "-m", "kserve_warmup", *map(str, arguments)], check=True, cwd=ROOT)
