"""Real servers and sample sets for the integration tests."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from kserve_server import KServeServer
from sample_sets import samples, save

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """Build the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", f"--wheel-dir={folder}", Path(__file__).parents[2]], check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="session")
def install(tmp_path_factory, wheel):
    """Make environments with the wheel, and no way to the checkout; ``beside`` lends them our packages."""

    def _install(*options, beside=False):
        place = tmp_path_factory.mktemp("environment")
        venv.create(place, with_pip=False)
        python = place / "bin" / "python"
        if beside:
            (packages,) = place.glob("lib/python3.*/site-packages")
            (packages / "lent.pth").write_text(sysconfig.get_path("purelib"))  # whose own .pth files count no more
        subprocess.run([*PIP, "--python", python, "install", *options, wheel], check=True)
        return python

    return _install


@pytest.fixture(scope="session")
def elsewhere():
    """Return an environment in which nothing but what is installed is imported."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture
def sample_set(tmp_path):
    """A sample set of every protocol."""
    return save(tmp_path / "samples", samples("v1", "v2", "v2-binary", "grpc"))


@pytest.fixture
def v1_set(tmp_path):
    return save(tmp_path / "v1-samples", samples("v1"))


@pytest.fixture
def start():
    """Start servers that end with the test."""
    started = []

    def _start(target, **options):
        started.append(KServeServer(target, **options))
        return started[-1]

    yield _start
    for server in started:
        if server.returncode:  # pytest shows it where the test has failed for want of this server
            print(f"a server ended with {server.returncode}:\n{server.log[-3000:]}")
        server.stop()


@pytest.fixture
def start_case(start):
    """Start a server of one of the models in case_models.py."""

    def _start(target, **options):
        return start(target, script="case_models.py", **options)

    return _start
