"""A model that is loaded again while its server runs."""

import re
import signal
import sys
import threading
import time

import pytest
from kserve_server import KServeServer
from test_kserve_hooks import grpc_infer

from kserve_warmup.serving.context import LINES_LET_THROUGH


def reload(server):
    return server.post("/v2/repository/models/model/load", b"")


@pytest.mark.parametrize("reloads", ["loop", "thread"])
@pytest.mark.parametrize("target", ["OwnLoad", "LazyAsyncClient"])
def test_a_reloaded_model_is_warmed_again_before_it_is_ready_again(target, reloads, start, v1_set):
    server = start(target, samples=v1_set, RELOADS=reloads)
    server.wait_ready()
    before = server.predict()[0]
    reload(server)
    server.wait_ready(seconds=20)
    assert server.predict()[0] > before + 2


def test_a_reloaded_model_that_cannot_be_warmed_says_why_and_is_not_ready(start, v1_set):
    server = start("FailsWhenReloaded", samples=v1_set, RELOADS="thread")
    server.wait_ready()
    reload(server)
    server.wait_for_log("the new weights are broken")
    server.wait_for_log("cannot be warmed")
    assert server.get("/v2/models/model/ready")[0] == 503
    assert server.get("/v2/health/live")[0] == 200  # the other models go on


def test_sigterm_during_a_reload_lets_the_server_end_in_its_own_way(start, v1_set):
    server = start("SlowPredict", samples=v1_set, max_calls=4, RELOADS="loop")
    server.wait_ready()
    ended = "Application shutdown complete"
    threading.Thread(target=reload, args=(server,), daemon=True).start()
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) is not None
    assert ended in server.log


def test_lines_of_other_models_requests_are_all_there_while_a_model_is_reloaded(start_case, sample_set):
    server = start_case("SlowPlain,Queueing", samples=sample_set)
    server.wait_ready("slowplain")
    server.wait_ready("queueing")
    before = server.log
    answers = []
    path = "/v2/repository/models/slowplain/load"
    reloading = threading.Thread(target=lambda: answers.append(server.post(path, b"")), daemon=True)
    reloading.start()
    sent = warmups = 0
    while reloading.is_alive():
        warmups += server.predict("queueing")[0] + grpc_infer(server, model="queueing")[0]
        sent += 1
    assert answers[0][0] == 200, answers
    assert sent > LINES_LET_THROUGH
    assert warmups == 0  # what a warm-up request has left in the background is no warm-up for ever
    during = server.log.removeprefix(before)
    assert during.count("POST /v1/models/queueing%3Apredict") == sent
    assert during.count("grpc method: /inference.GRPCInferenceService/ModelInfer") >= sent
    assert during.count("queueing: from the queue") == 2 * sent
    assert during.count("POST /v1/models/slowplain") <= LINES_LET_THROUGH


def test_a_server_that_is_started_after_another_has_stopped_in_the_same_process_is_as_new(sample_set):
    server = KServeServer("-", command=[sys.executable, "two_servers.py", sample_set])
    with server:
        assert server.process.wait(120) == 0, server.log[-3000:]
    calls = [tuple(map(int, line.split()[1:])) for line in server.log.splitlines() if line.startswith("CALLS")]
    assert [(first > 1, second > 1) for first, second in calls] == [(True, False), (False, True), (True, False)], calls
    assert [second for first, second in calls if first] == [0, 0]
    came = re.findall(r"startup complete|(?:first|second): (?:warm: )?\d+ calls over", server.log)
    assert [line.split()[0] for line in came] == ["first:", "startup", "second:", "startup", "first:", "startup"]
