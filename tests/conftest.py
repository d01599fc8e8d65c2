"""What all tests share: the tritonserver that `make triton-env` has made, and how they run beside each other.

``make test`` runs several at once (pytest-xdist): most only wait for a server. A test that measures or limits time, or
whose servers must not be starved, is marked ``alone``: it runs when the others are done, and no other runs meanwhile.
"""

import fcntl
import os
from pathlib import Path

import pytest

os.environ.setdefault("KSERVE_WARMUP_TRITON_ENV", str(Path(__file__).parents[1] / ".venv-triton"))

HERE = Path(__file__)
BESIDE_OTHERS = "PYTEST_XDIST_WORKER" in os.environ


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Put the tests that run alone at the end, and those that share a module's fixture into one process."""
    if not BESIDE_OTHERS:
        return
    for item in items:
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.xdist_group("alone"))
        elif any(fixtures[-1].scope == "module" for fixtures in item._fixtureinfo.name2fixturedefs.values()):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Let a test that runs alone wait until no other runs: this file's lock is shared by all that do not."""
    if not BESIDE_OTHERS:
        return (yield)
    with HERE.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)  # which closing does not do while a forked process holds the file


@pytest.fixture
def figures(record_property):
    """Take a line to print at the end: figures are looked at, not asserted."""
    return lambda line: record_property("figure", line)


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.getreports("passed")
    lines = [value for report in reports for name, value in report.user_properties if name == "figure"]
    if lines:
        terminalreporter.section("measured from outside")
        for line in lines:
            terminalreporter.write_line(line)
