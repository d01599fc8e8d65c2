"""What all tests share: the tritonserver that `make triton-env` has made, unless another one is named; and figures."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("KSERVE_WARMUP_TRITON_ENV", str(Path(__file__).parents[1] / ".venv-triton"))


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
