"""The gate before Ray Serve: whoever asks first asks a warm server, after a restart and on each replica too."""

from gate_checks import check_every_worker, check_first_request, check_restart
from python_servers import rayserve


def test_whoever_asks_first_asks_a_warm_server_and_a_cold_one_without_the_gate(start, gate, figures):
    without = check_first_request(rayserve(1), "JSON", start, gate)
    figures(f"Ray Serve JSON: cold first ÷ steady {without.ratio:.0f}")


def test_a_cluster_that_restarts_behind_the_gate_is_warmed_anew(start, gate):
    check_restart(rayserve(1), "JSON", start, gate)


def test_every_replica_is_warm_once_the_gate_is_ready(start, gate):
    check_every_worker(rayserve(2), start, gate)
