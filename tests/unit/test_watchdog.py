"""A request that blocks its thread is seen from another one, and interrupted as far as Python can."""

import threading
import time

import pytest

from kserve_warmup.replay import NoAnswerError
from kserve_warmup.serving.watchdog import interruptible, watched


def test_whoever_is_silent_too_long_is_reported_from_another_thread():
    hung = threading.Event()
    reporters = []

    def on_hang():
        reporters.append(threading.current_thread())
        hung.set()

    with watched(0.05, on_hang):
        assert hung.wait(20)
    assert threading.main_thread() not in reporters


def test_whoever_gives_signs_of_life_is_not_reported():
    hangs = []
    with watched(30, lambda: hangs.append(True)) as alive:
        for _ in range(100):
            alive()
    assert hangs == []


def test_a_watch_ends_with_its_block():
    hangs = []
    with watched(0.05, lambda: hangs.append(True)):
        pass
    seen = len(hangs)
    deadline = time.monotonic() + 20
    while any(t.name == "kserve-warmup-watch" for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert len(hangs) == seen


def handles(work):
    """Stand for the function that a request is handled in."""
    return work()


@pytest.mark.parametrize("blocks", [lambda: time.sleep(3600), threading.Event().wait], ids=["sleep", "wait"])
def test_a_request_that_blocks_the_main_thread_raises_that_it_was_not_answered(blocks):
    with (
        interruptible(handles.__code__, "no answer within 0.05 s") as interrupt,
        watched(0.05, interrupt),
        pytest.raises(NoAnswerError, match="no answer within"),
    ):
        handles(blocks)


def test_nothing_else_than_a_request_is_ever_interrupted():
    interrupted = threading.Event()
    with interruptible(handles.__code__, "no answer") as interrupt:
        interrupt()
        interrupted.set()
        time.sleep(0.01)  # where the signal is handled
    assert interrupted.is_set()


def test_the_signal_is_as_before_afterwards():
    import signal

    before = signal.getsignal(signal.SIGURG)
    with interruptible(handles.__code__, "no answer"):
        assert signal.getsignal(signal.SIGURG) is not before
    assert signal.getsignal(signal.SIGURG) is before


def test_in_another_thread_nothing_can_be_interrupted_and_nothing_breaks():
    done = []

    def elsewhere():
        with interruptible(handles.__code__, "no answer") as interrupt:
            interrupt()
            done.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert done == [True]
