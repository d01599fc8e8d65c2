"""A real server from PyPI, in an environment of its own: how it is started, asked and guarded."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from held_ports import free_ports

from kserve_warmup.latency import Target, send, wait_ready
from kserve_warmup.processes import ServerProcess
from kserve_warmup.protocols.codec import over_grpc
from kserve_warmup.samples.sample import Sample
from kserve_warmup.sampling.select import select

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
START_SECONDS = 180


@dataclass(frozen=True)
class Place:
    """Where a server is started.

    ``bin`` has the programs of its environment; ``folder`` is its own, and is left as it is when it starts again.
    """

    bin: Path
    folder: Path
    http: int = field(default_factory=lambda: free_ports(1)[0])
    grpc: int = field(default_factory=lambda: free_ports(1)[0])
    metrics: int = field(default_factory=lambda: free_ports(1)[0])


@dataclass(frozen=True)
class RealServer:
    """A server as its users start it.

    ``command`` and ``variables`` say how, the environment of ``.venv-<environment>``. ``requests`` has, for each
    protocol, the request number i. ``ready`` is where it says so itself; ``path`` where it takes requests, None: at
    their protocols' endpoints. ``workers`` processes have the model. ``package`` is what its version is that of; empty:
    called as the environment.
    """

    name: str
    environment: str
    command: Callable[[Place], list[str]]
    requests: Mapping[str, Callable[[int], Sample]]
    ready: str
    model: str = "neighbours"
    path: str | None = None
    workers: int = 1
    package: str = ""
    variables: Callable[[Place], Mapping[str, str]] = lambda _: {}
    prepare: Callable[[Place], None] = lambda _: None

    @property
    def installed(self) -> Path:
        """Return the file that stands for a whole environment; make creates it."""
        return ROOT / f".venv-{self.environment}" / ".installed"

    @property
    def options(self) -> tuple[str, ...]:
        """Return what a gate, or verify, needs to be told of it."""
        return ("--path", self.path, "--ready", self.ready) if self.path else ()

    def place(self, folder: Path) -> Place:
        """Return a place with ports that the kernel chose, prepared."""
        folder.mkdir(parents=True)
        place = Place(self.installed.parent / "bin", folder)
        self.prepare(place)
        return place

    def samples(self, protocol: str, folder: Path, count: int = 12) -> Path:
        """Write a sample set of one protocol."""
        select([self.requests[protocol](number) for number in range(count)], self.model).save(folder)
        return folder


class Started(ServerProcess):
    """A real server that runs for as long as the ``with`` block; the same place can be taken again afterwards."""

    def __init__(self, server: RealServer, place: Place):
        self.server, self.place = server, place
        self.http_url, self.grpc_address = f"http://127.0.0.1:{place.http}", f"127.0.0.1:{place.grpc}"
        variables = {"PYTHONPATH": str(PROGRAMS), "PYTHONUNBUFFERED": "1"} | dict(server.variables(place))
        super().__init__(
            [str(part) for part in server.command(place)],
            env={**os.environ, **variables},
            cwd=place.folder,
            name=server.name,
        )

    def wait_ready(self):
        """Wait for the server's own word, as its users' probes do."""
        target = Target(self.http_url, self.server.model)
        wait_ready(target, timeout=START_SECONDS, alive=self.alive, path=self.server.ready)

    def target(self, sample):
        """Return where ``sample`` is sent."""
        if over_grpc(sample):
            return Target(self.grpc_address, self.server.model)
        return Target(self.http_url, self.server.model, path=self.server.path)

    def ask(self, sample) -> bytes:
        """Send a request as a client does, and return the answer's body."""
        return send(sample, self.target(sample))
