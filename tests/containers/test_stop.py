"""``docker stop`` at any moment: the container ends by itself, within its grace period, and leaves nothing behind."""

import json
import re

import pytest
from docker_servers import Load

ENDED = (0, 143)  # by itself, or by SIGTERM; 137 would be the kill after the grace period
AT_ONCE = 3
"""Seconds: what waits for a request, a warm-up or a grace period of its own needs more; Python's end needs a tenth."""


def left_behind(reports):
    """Return the names of the files in ``reports``, all of which can be read."""
    for file in reports.iterdir():
        assert re.fullmatch(r"report(-\d+)?\.json", file.name), f"{file.name} was left behind"
        json.loads(file.read_text())
    return [file.name for file in reports.iterdir()]


@pytest.mark.alone
def test_a_stop_while_the_model_loads_ends_it_at_once(kserve, reports):
    server = kserve("SlowLoad")
    server.wait_for_log("loading slowly")
    assert server.stop(AT_ONCE) in ENDED
    assert left_behind(reports) == []


@pytest.mark.alone
def test_a_stop_during_the_warm_up_ends_it_at_once(kserve, reports):
    server = kserve("SlowWarmup")
    server.wait_for_log("warming slowly")
    assert server.stop(AT_ONCE) in ENDED
    assert left_behind(reports) == []


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.alone)])
def test_a_stop_while_it_serves_lets_the_requests_under_way_end(kserve, reports, workers):
    server = kserve("Counting", f"--workers={workers}").wait_ready()
    with Load(server) as load:
        while len(load.answers) < 20:
            assert server.running
        assert server.stop() in ENDED
        answered = len(load.answers)
    assert len(load.answers) == answered
    most = workers + (workers > 1)  # each worker writes its own, and so does the parent of several, which serves gRPC
    assert 0 < len(left_behind(reports)) <= most


@pytest.mark.alone
def test_a_stop_in_the_middle_of_triton_s_warm_up_ends_it_at_once(triton, repositories):
    server = triton(mounts=[(repositories.endless, "/models", "ro")])
    server.wait_for_log("TRITONBACKEND_ModelInstanceInitialize")
    assert server.stop(AT_ONCE) in ENDED


def test_a_stop_while_triton_serves_ends_it(triton):
    server = triton().wait_ready()
    with Load(server) as load:
        while len(load.answers) < 20:
            assert server.running
        assert server.stop() in ENDED
