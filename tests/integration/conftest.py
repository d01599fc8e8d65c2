"""Real servers and sample sets for the integration tests."""

import pytest
from kserve_server import KServeServer
from sample_sets import samples, save


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
        server.stop()


@pytest.fixture
def start_case(start):
    """Start a server of one of the models in case_models.py."""

    def _start(target, **options):
        return start(target, script="case_models.py", **options)

    return _start
