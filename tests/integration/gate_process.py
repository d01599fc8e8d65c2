"""A gate in a process of its own, and what it answers."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request

from kserve_server import free_ports


class GateProcess:
    """``kserve-warmup gate`` before a server, on a port that the kernel chose."""

    def __init__(self, url, samples, *options, prefix=()):
        (self.port,) = free_ports(1)
        arguments = [url, "--samples", samples, "--port", self.port, "--host", "127.0.0.1", *options]
        command = [*prefix, sys.executable, "-m", "kserve_warmup", "gate", *map(str, arguments)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.log = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End it, and return what it has logged."""
        if not self.process.stderr.closed:
            self.process.terminate()
            self.log += self.process.communicate(timeout=20)[1]
        return self.log

    def get(self, path):
        """Return status and body; None while nothing listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

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
            assert self.process.poll() is None, self.process.stderr.read()
            assert time.monotonic() < deadline, state
            time.sleep(0.05)
        return state

    def wait_phase(self, phase):
        return self.wait(lambda state: state["phase"] == phase)
