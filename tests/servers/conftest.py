"""Real servers before and behind a gate, which end with their test."""

import os

import pytest
from gate_process import GateProcess
from real_server import Started

pytest.register_assert_rewrite("gate_checks")


@pytest.fixture
def installed():
    """Return a server; where its environment is missing the test is left out, and that is said; in CI it fails."""

    def _installed(server):
        if not server.installed.is_file():
            told = f"{server.name} is not installed, and is LEFT OUT: make test-servers installs it"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(told)
        return server

    return _installed


@pytest.fixture
def start(installed, tmp_path):
    """Start a server, at a place of its own unless it takes that of another one, which is stopped first."""
    started = []

    def _start(server, instead_of=None, place=None):
        installed(server)
        if instead_of:
            instead_of.stop()
        place = instead_of.place if instead_of else place or server.place(tmp_path / f"server-{len(started)}")
        started.append(Started(server, place))
        return started[-1].__enter__()

    yield _start
    for server in started:
        print(f"the end of {server.name}'s log:\n{server.log[-3000:]}")  # which pytest shows of a failed test
        server.stop()


@pytest.fixture
def gate(tmp_path):
    """Start a gate before a server, with samples of one protocol."""
    gates = []

    def _gate(served, protocol, *options):
        samples = served.server.samples(protocol, tmp_path / f"samples-{len(gates)}")
        gates.append(
            GateProcess(served.http_url, samples, "--grpc", served.grpc_address, *served.server.options, *options)
        )
        return gates[-1]

    yield _gate
    for one in gates:
        print(f"the gate's log:\n{one.log[-3000:]}")
        one.stop()
