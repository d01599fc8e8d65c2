"""When a container says that it is ready, its first real request is as fast as the later ones."""

import time

import pytest
from docker_servers import BASE, KSERVE, MODEL, TRITON, first_ready, grpc_ready, rest_ready

from kserve_warmup.demo.recordings import digit_requests
from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.latency import measure
from kserve_warmup.triton.prove import prove

REQUESTS = 12
MEGABYTE = 10**6


def figure(name, warm, cold):
    return (
        f"{name}: first ÷ steady {warm.ratio:.2f} ({warm.first_ms:.1f} ÷ {warm.steady_ms:.1f} ms), "
        f"without warm-up {cold.ratio:.0f} ({cold.first_ms:.1f} ÷ {cold.steady_ms:.1f} ms)"
    )


def all_paths_warm(report):
    assert report is not None
    assert report["transport"] == "in_process, rest, grpc"
    return all(stratum["calls"] > 1 and stratum["error"] is None for stratum in report["strata"])


def measured(server, protocol):
    target = server.grpc if protocol == "grpc" else server.http
    return measure(digit_requests(protocol, (1,) * REQUESTS, 100), target, REQUESTS)


@pytest.mark.parametrize("protocol", ["v2", "grpc"])
def test_kserve_is_never_ready_before_its_report_says_that_all_paths_are_warm(kserve, report, figures, protocol):
    server = kserve()
    for at_first_yes in first_ready(server, witness=report).values():
        assert all_paths_warm(at_first_yes)
    warm = measured(server, protocol)
    assert server.infer()["calls"][0] > report()["calls"]
    cold = kserve(enabled=False).wait_ready()
    figures(figure(f"KServe {protocol}", warm, measured(cold, protocol)))
    assert cold.infer()["calls"] == [REQUESTS]


@pytest.mark.parametrize("protocol", ["v2", "grpc"])
def test_triton_is_never_ready_before_its_statistics_show_every_block(triton, repositories, figures, protocol):
    server = triton()
    # gRPC opens a moment before HTTP, which the statistics come over; nothing has inferred by then but the warm-up
    seen = first_ready(server, witness=lambda: prove(repositories.warm, server.wait_ready().http.url, [MODEL]))
    assert all(proof.counts.executions > 0 for proofs in seen.values() for proof in proofs)
    warm = measured(server, protocol)
    cold = triton(mounts=[(repositories.cold, "/models", "ro")]).wait_ready()
    with pytest.raises(WarmupFailedError, match="another model_warmup"):
        prove(repositories.warm, cold.http.url, [MODEL])
    figures(figure(f"Triton {protocol}", warm, measured(cold, protocol)))


def test_readiness_is_lost_with_a_stop_and_comes_back_with_the_warm_up(kserve, report):
    server = kserve().wait_ready()
    assert server.infer()["calls"][0] > 0
    before = report()
    assert server.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        server.infer()
    server.container.start()
    for at_first_yes in first_ready(server, witness=report).values():
        assert at_first_yes["seconds"] != before["seconds"]
        assert all_paths_warm(at_first_yes)
    assert server.infer()["calls"][0] >= report()["calls"]


def test_a_container_that_is_paused_while_it_warms_is_ready_only_after_it_went_on_and_finished(kserve, report):
    server = kserve("SlowWarmup", max_calls=20)
    server.wait_for_log("warming slowly")
    server.container.pause()
    time.sleep(2)
    assert report() is None
    server.container.unpause()
    for at_first_yes in first_ready(server, witness=report).values():
        assert all_paths_warm(at_first_yes)


def test_a_paused_container_gives_no_answer_and_an_unpaused_one_is_ready_at_once(kserve):
    server = kserve().wait_ready()
    address, rpc = server.address(8080), server.address(8081)
    before = server.infer()
    server.container.pause()
    assert not rest_ready(address)
    assert not grpc_ready(rpc)
    server.container.unpause()
    assert rest_ready(address)
    after = server.infer()
    assert after["pid"] == before["pid"]
    assert after["calls"][0] == before["calls"][0] + 1


def test_clients_with_wrong_clocks_are_told_the_same(kserve, report):
    dates = ("Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT")
    clients = [{"Date": date, "If-Modified-Since": date, "Cache-Control": "max-age=1000000"} for date in dates]
    server = kserve()
    address = server.address(8080)
    while not any(rest_ready(address, client) for client in clients):
        assert server.running
    assert all_paths_warm(report())
    assert all(rest_ready(address, client) for client in (*clients, {}))


def test_hundreds_of_warm_up_requests_leave_some_lines_in_the_log(kserve, report):
    server = kserve().wait_ready()
    assert report()["calls"] > 200
    assert len(server.log.splitlines()) < 60
    assert f"{MODEL}: warm: " in server.log


def test_image_sizes(client, figures):
    sizes = {name: client.images.get(name).attrs["Size"] / MEGABYTE for name in (BASE, KSERVE, TRITON)}
    for name, size in sizes.items():
        figures(f"image {name}: {size:.0f} MB")
    assert sizes[BASE] < 600
