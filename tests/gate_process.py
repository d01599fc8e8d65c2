"""A gate in a process of its own, and what it answers."""

import json
import sys
import time

from held_ports import free_ports

from kserve_warmup.processes import ServerProcess
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch_now


class GateProcess(ServerProcess):
    """``kserve-warmup gate`` before a server, on a port that the kernel chose, started at once."""

    def __init__(self, url, samples, *options, prefix=()):
        (self.port,) = free_ports(1)
        arguments = [url, "--samples", samples, "--port", self.port, "--host", "127.0.0.1", *options]
        command = [*prefix, sys.executable, "-m", "kserve_warmup", "gate", *map(str, arguments)]
        super().__init__(command, stop_seconds=20)
        super().__enter__()

    def __enter__(self):
        return self

    def stop(self):
        """End it, and return what it has logged."""
        super().stop()
        return self.log

    def get(self, path):
        """Return status and body; None while nothing listens."""
        try:
            answer = fetch_now(Address("127.0.0.1", self.port), "GET", path, {}, None, seconds=10)
        except ConnectionLostError:
            return None
        return answer.status, answer.body.decode()

    @property
    def state(self):
        """Return what /ready says; its status must be in agreement."""
        answer = self.get("/ready")
        if answer is None:
            return {"ready": False, "phase": None, "detail": "", "warmups": 0, "calls": 0}
        state = json.loads(answer[1])
        assert answer[0] == (200 if state["ready"] else 503)
        return state

    def wait(self, condition, seconds=60):
        """Wait until ``condition`` holds of the state, and return it."""
        deadline = time.monotonic() + seconds
        while not condition(state := self.state):
            self.alive()
            assert time.monotonic() < deadline, f"{state}\n{self.log[-3000:]}"
            time.sleep(0.05)
        return state

    def wait_phase(self, phase):
        return self.wait(lambda state: state["phase"] == phase)
