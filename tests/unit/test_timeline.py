"""Where a report's timeline begins: with the process."""

import time

import psutil
import pytest

from kserve_warmup import timeline


def test_the_clock_begins_when_the_process_did_and_not_with_the_machine(monkeypatch):
    started = psutil.Process().create_time() - psutil.boot_time()
    monkeypatch.setattr(timeline.time, "clock_gettime", lambda _: started + 5)
    assert timeline.process_age() == pytest.approx(5, abs=0.02)


def test_where_the_kernel_does_not_tell_the_clock_begins_with_the_import(monkeypatch):
    monkeypatch.delattr(timeline.time, "clock_gettime")
    before = time.monotonic()
    assert before - timeline._IMPORTED <= timeline.process_age() <= time.monotonic() - timeline._IMPORTED
