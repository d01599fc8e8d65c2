"""Real KServe servers in fresh processes, on ports that the kernel chose."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from held_ports import free_ports

from kserve_warmup.processes import ServerProcess
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch_now

HERE = Path(__file__).parent
NOT_STARVED = pytest.mark.alone
"""For servers with several workers: KServe kills a worker that misses a ping for 5 s, as on a crowded machine."""
ONE_AND_TWO = [1, pytest.param(2, marks=NOT_STARVED)]


class KServeServer(ServerProcess):
    """``python predictors.py CLASS`` with its own ports, started at once."""

    def __init__(
        self,
        target,
        *,
        workers=1,
        samples=None,
        script="predictors.py",
        command=None,
        options=(),
        prefix=(),
        ports=None,
        **env,
    ):
        self.http, self.grpc = ports or free_ports(2)
        command = command or [sys.executable, str(HERE / script), target]
        options = [*options, "--http_port", self.http, "--grpc_port", self.grpc, "--workers", workers]
        environment = {**os.environ, **{f"KSERVE_WARMUP_{k.upper()}": str(v) for k, v in env.items() if k.islower()}}
        environment |= {k: str(v) for k, v in env.items() if not k.islower()}
        if samples:
            environment["KSERVE_WARMUP_SAMPLES"] = str(samples)
        super().__init__([*prefix, *command, *map(str, options)], env=environment, cwd=HERE, stop_seconds=20)
        super().__enter__()

    def __enter__(self):
        return self

    def get(self, path):
        """Return status and body; None when nothing listens."""
        try:
            answer = fetch_now(Address("127.0.0.1", self.http), "GET", path, {}, None, seconds=10)
        except ConnectionLostError:
            return None
        return answer.status, answer.body

    def post(self, path, body, headers=None):
        headers = {"content-type": "application/json"} if headers is None else headers
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read(), dict(response.headers)
        except urllib.error.HTTPError as error:
            return error.code, error.read(), dict(error.headers)

    def predict(self, model="model", rows=1):
        """Return (calls before this one, pid) of the process that answered a v1 request."""
        status, body, _ = self.post(f"/v1/models/{model}:predict", v1_body(rows))
        assert status == 200, body
        return json.loads(body)["predictions"][0]

    def wait_ready(self, model="model", seconds=90):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log[-3000:]}")
            if (answer := self.get(f"/v2/models/{model}/ready")) and answer[0] == 200:
                return
            time.sleep(0.1)
        raise AssertionError(f"not ready within {seconds} s:\n{self.log[-3000:]}")

    def outcome(self, seconds=120):
        """Wait for the process to end; return its code and its last line."""
        code = self.process.wait(seconds)
        return code, self.log.strip().splitlines()[-1]

    def wait_for_log(self, text, seconds=60):
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} not in the log:\n{self.log[-3000:]}"
            assert self.process.poll() is None or text in self.log, self.log[-3000:]
            time.sleep(0.05)


IMPORT = "import kserve"
IMPORT_TWICE = f"{IMPORT}, os, sys; os.execv(sys.executable, [sys.executable, '-c', {IMPORT!r}])"


def ended_at_once(process, pid=None, within=IMPORT_TWICE):
    """Send SIGTERM and return the exit code: nothing was waited for.

    What takes longer than what Python runs ``within`` that time, begun at that moment, has waited for something: for a
    request, a grace period, a budget. However busy the machine is, it is so for both.
    """
    with subprocess.Popen([sys.executable, "-c", within]) as meanwhile:
        os.kill(pid or process.pid, signal.SIGTERM)
        code = process.wait(120)
        assert meanwhile.poll() is None, "it took its time"
        meanwhile.kill()
    return code


def v1_body(rows=1):
    return json.dumps({"instances": [[0.5, float(row)] for row in range(rows)]}).encode()
