"""Time to ready from outside: nothing is said to a server before its port opens, then it is asked at once."""

import itertools
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.latency import KNOCK_SECONDS, PACE_SECONDS, Target, time_to_ready


@contextmanager
def server(*statuses, opens_after=0.0):
    """Yield an address, and what a server that opens there after some seconds is asked, with the time of each."""
    asked = []
    left = list(statuses)

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, time.monotonic()))
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    web = HTTPServer(("127.0.0.1", 0), Ready, bind_and_activate=False)
    web.server_bind()

    def run():
        time.sleep(opens_after)
        asked.append(("open", time.monotonic()))
        web.server_activate()
        web.serve_forever(0.01)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{web.server_port}", asked
    web.shutdown()
    web.server_close()


def test_a_port_that_opens_when_the_server_is_ready_is_asked_once_and_the_time_ends_there():
    started = time.monotonic()
    with server(200, opens_after=0.5) as (url, asked):
        ready = time_to_ready(Target(url, "m"), started)
    (_, opened), (path, when) = asked
    assert path == "/v2/models/m/ready"
    assert opened - started <= when - started <= ready.seconds
    assert ready.resolution in (KNOCK_SECONDS, PACE_SECONDS)  # the latter where the machine stood still


def test_a_port_that_opens_before_the_model_is_ready_is_asked_until_it_is_and_not_too_often():
    started = time.monotonic()
    with server(503, 503, 200) as (url, asked):
        ready = time_to_ready(Target(url, "m"), started, path="/ready")
    times = [when for path, when in asked if path == "/ready"]
    assert len(times) == 3
    assert all(later - before >= PACE_SECONDS for before, later in itertools.pairwise(times))
    assert times[-1] - started <= ready.seconds  # the time ends with the answer that says so, and no earlier
    assert ready.resolution == PACE_SECONDS


def test_a_process_that_ends_before_it_opens_its_port_is_told_and_so_is_one_that_never_does():
    def alive():
        raise WarmupFailedError("KServe ended with code 3")

    with socket.socket() as shut:
        shut.bind(("127.0.0.1", 0))
        target = Target(f"http://127.0.0.1:{shut.getsockname()[1]}", "m")
        with pytest.raises(WarmupFailedError, match="ended with code 3"):
            time_to_ready(target, time.monotonic(), alive=alive)
        with pytest.raises(WarmupFailedError, match=r"was not ready after 0.1 s: its port is shut"):
            time_to_ready(target, time.monotonic(), timeout=0.1)
