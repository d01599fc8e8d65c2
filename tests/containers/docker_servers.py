"""Both servers in containers, reached through published ports."""

import json
import threading
import time
import uuid
from pathlib import Path

import docker

from kserve_warmup.demo.recordings import digit_requests
from kserve_warmup.errors import WarmupFailedError
from kserve_warmup.latency import Target, send
from kserve_warmup.replay import RequestFailedError
from kserve_warmup.transports.endpoints import GRPC_MODEL_READY, GRPC_READY, grpc_name
from kserve_warmup.transports.grpc import GrpcClient
from kserve_warmup.transports.http import Address, ConnectionLostError, fetch_now

ROOT = Path(__file__).parents[2]
KSERVE, TRITON, BASE = "kserve-warmup/digits-knn", "kserve-warmup/triton-digits", "kserve-warmup/kserve"
BAKED = "kserve-warmup/digits-knn-baked"
GATE = "kserve-warmup/gate"
MODEL = "digits_knn"
SAMPLES = ROOT / "examples/digits_knn/warmup"
LABEL = {"kserve-warmup": "test", "kserve-warmup.run": uuid.uuid4().hex}
POLL_SECONDS = 0.05
GRACE_SECONDS = 20
PROBE = Path(__file__).with_name("probe.py")


class Container:
    """One server in a container: ``http`` and ``grpc`` are the ports inside it."""

    def __init__(self, client, image, command=None, *, http, grpc, mounts=(), **options):
        self.http_port, self.grpc_port = http, grpc
        self.container = client.containers.run(
            image,
            command,
            detach=True,
            labels=LABEL,
            ports={f"{port}/tcp": ("127.0.0.1", None) for port in (http, grpc)},
            volumes=[f"{host}:{inside}:{mode}" for host, inside, mode in mounts],
            **{"read_only": True, "tmpfs": {"/tmp": ""}, "cap_drop": ["ALL"], **options},
        )

    def address(self, inside):
        """Return where a port is published now; it moves when the container starts again."""
        self.container.reload()
        published = self.container.ports.get(f"{inside}/tcp")
        if not published:
            raise ConnectionRefusedError(f"{self.container.name} is not running")
        return f"127.0.0.1:{published[0]['HostPort']}"

    @property
    def http(self):
        return Target(f"http://{self.address(self.http_port)}", MODEL)

    @property
    def grpc(self):
        return Target(self.address(self.grpc_port), MODEL)

    @property
    def log(self):
        return self.container.logs().decode(errors="replace")

    @property
    def last_line(self):
        return self.log.strip().splitlines()[-1]

    @property
    def state(self):
        self.container.reload()
        return self.container.attrs["State"]

    @property
    def running(self):
        return self.state["Running"]

    def infer(self, rows=1, row=0):
        """Send one real request and return its outputs by name."""
        (request,) = digit_requests("v2", (rows,), row)
        answer = json.loads(send(request, self.http))
        return {output["name"]: output["data"] for output in answer["outputs"]}

    def wait_ready(self, seconds=120):
        deadline = time.monotonic() + seconds
        address = self.address(self.http_port)
        while not rest_ready(address):
            assert self.running, f"the container ended with {self.state['ExitCode']}:\n{self.log[-3000:]}"
            assert time.monotonic() < deadline, f"not ready within {seconds} s:\n{self.log[-3000:]}"
            time.sleep(POLL_SECONDS)
        return self

    def wait_for_log(self, text, seconds=60):
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert self.running, f"the container ended:\n{self.log[-3000:]}"
            assert time.monotonic() < deadline, f"{text!r} not in the log:\n{self.log[-3000:]}"
            time.sleep(POLL_SECONDS)

    def never_ready_until_it_ends(self, seconds=120):
        """Poll REST and gRPC until the container has ended, and return its exit code."""
        deadline = time.monotonic() + seconds
        rest, rpc = self.address(self.http_port), self.address(self.grpc_port)
        while self.running:
            assert not rest_ready(rest), f"ready:\n{self.log[-3000:]}"
            assert not grpc_ready(rpc), f"ready:\n{self.log[-3000:]}"
            assert time.monotonic() < deadline, f"still there after {seconds} s:\n{self.log[-3000:]}"
            time.sleep(POLL_SECONDS)
        return self.state["ExitCode"]

    def stop(self, grace=GRACE_SECONDS):
        """Stop as a cluster does, and return the exit code; 137 when the grace period was not enough."""
        self.container.stop(timeout=grace)
        return self.state["ExitCode"]


def rest_ready(address, headers=None):
    """Ask the model's REST ready endpoint; a port that nobody answers, or whose proxy resets, is not ready."""
    try:
        where, path = Address.parse(f"http://{address}"), f"/v2/models/{MODEL}/ready"
        return fetch_now(where, "GET", path, headers or {}, None, seconds=5).status == 200
    except ConnectionLostError:
        return False


def grpc_ready(address):
    """Ask the model's gRPC ready endpoint."""
    try:
        return GrpcClient(address).ask_now(GRPC_MODEL_READY, grpc_name(MODEL), 5) == GRPC_READY
    except RequestFailedError:
        return False


def first_ready(server, seconds=120, witness=lambda: None):
    """Poll both of a server's ready endpoints from its start; return what ``witness`` saw at each one's first yes."""
    seen = {}

    def poll(kind, ask, address):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and server.running:
            if ask(address):
                seen[kind] = witness()
                return
            time.sleep(POLL_SECONDS)

    asked = (
        ("rest", rest_ready, server.address(server.http_port)),
        ("grpc", grpc_ready, server.address(server.grpc_port)),
    )
    threads = [threading.Thread(target=poll, args=question) for question in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(seen) == {"rest", "grpc"}, server.log[-3000:]
    return seen


class Load:
    """Clients that send one request after another, each on a new connection, for as long as the block runs."""

    def __init__(self, server, clients=2):
        self.target = server.http
        self.answers, self.errors = [], []
        self.clients = range(clients)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i,)) for i in self.clients]

    def _run(self, client):
        (request,) = digit_requests("v2", (1,), client * 50)
        while not self._stopped.is_set():
            try:
                outputs = json.loads(send(request, self.target))["outputs"]
                self.answers.append({output["name"]: output["data"] for output in outputs})
            except WarmupFailedError as error:
                self.errors.append(str(error))
            self._stopped.wait(0.02)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def connect():
    """Return a client of the daemon.

    Raises:
        RuntimeError: no daemon answers, or the images were not built.
    """
    try:
        client = docker.from_env()
        client.ping()
    except docker.errors.DockerException as error:
        raise RuntimeError(
            f"no Docker daemon answers ({error}): start one, or leave these tests out with --ignore=tests/containers"
        ) from None
    for image in (KSERVE, TRITON, BASE, BAKED):
        try:
            client.images.get(image)
        except docker.errors.ImageNotFound:
            raise RuntimeError(f"the image {image} is missing: make images") from None
    return client
