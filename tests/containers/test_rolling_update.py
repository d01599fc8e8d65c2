"""Rolling updates under constant load behind HAProxy: replicas with warm-up, with baked caches too, with neither."""

import json

import pytest
from docker_servers import BAKED, KSERVE, LABEL, MODEL, PROBE

from benchmarks.rolling_update import lines, updates

UPDATES = 1
"""Of each kind: one shows who meets a cold replica; ten, and how slow that is, ``make bench``."""


def calls_before(answer):
    """Return how many calls the process that answered had answered before."""
    outputs = {output["name"]: output["data"] for output in json.loads(answer.body)["outputs"]}
    return outputs["calls"][0]


@pytest.mark.alone
def test_no_user_of_a_rolling_update_meets_a_cold_replica_unless_it_has_no_warm_up(client, figures):
    def start(port, core, image=KSERVE, **settings):
        return client.containers.run(
            image,
            ["probe:Counting", f"--model_name={MODEL}"],
            detach=True,
            read_only=True,
            tmpfs={"/tmp": ""},
            cpuset_cpus=str(core),
            labels=LABEL,
            ports={"8080/tcp": ("127.0.0.1", port)},
            volumes=[f"{PROBE}:/app/probe.py:ro"],
            environment={f"KSERVE_WARMUP_{name.upper()}": value for name, value in settings.items()},
        )

    kinds = {
        "warm": start,
        "baked": lambda port, core: start(port, core, BAKED, cache="require"),
        "cold": lambda port, core: start(port, core, enabled="false"),
    }
    done, traffic = updates(kinds, UPDATES)
    for line in lines(done):
        figures(line)
    assert [(update.kind, update.failed) for update in done] == [(kind, 0) for kind in kinds] * UPDATES
    first_in_its_process = [answer for answer in traffic.answers if calls_before(answer) == 0]
    assert len(first_in_its_process) == UPDATES  # of those without warm-up; no other left it to a user
