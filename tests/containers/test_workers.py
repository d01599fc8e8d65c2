"""Every worker is warm before it answers, those that replace a dead one included."""

import time

import pytest
from docker_servers import Load

BATCH_ONE_CALLS = 60
"""No stratum is judged steady sooner, and each was warmed by its own process."""


def kill(server, pid):
    code, output = server.container.exec_run(["sh", "-c", f"kill -9 {pid}"])
    assert code == 0, output


def pids(load, after=0):
    return {answer["pid"][0] for answer in load.answers[after:]}


def wait_until(happened, seconds, what):
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@pytest.mark.alone
def test_no_request_meets_a_cold_worker_even_when_one_was_killed_under_load(kserve, figures):
    workers = 4
    server = kserve("Counting", f"--workers={workers}").wait_ready()
    with Load(server) as load:
        wait_until(lambda: len(pids(load)) == workers, 120, lambda: f"answers come from {pids(load)} only")
        victim, before = load.answers[-1]["pid"][0], pids(load)
        kill(server, victim)
        wait_until(lambda: pids(load) - before, 120, lambda: server.log[-3000:])
    assert min(answer["calls"][0] for answer in load.answers) >= BATCH_ONE_CALLS
    # those that the dead worker was answering, one for each client at most
    assert len(load.errors) <= len(load.clients), load.errors
    figures(f"workers={workers}: {len(load.answers)} answers, {len(load.errors)} lost with a killed worker")
