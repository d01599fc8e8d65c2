"""Requests stepped by hand on this thread, with no event loop to be had."""

import asyncio
import json
import threading

import kserve
import pytest

from kserve_warmup.protocols.bodies import request
from kserve_warmup.replay import DependencyAwayError, NoAnswerError, NotHereError
from kserve_warmup.transports.in_process import InProcessTransport, SuspendedError, step

SAMPLE = request("v1", b'{"instances": [[1.0, 2.0]]}')


class Model(kserve.Model):
    def __init__(self, predict):
        super().__init__("m")
        self.asked = []
        self._predict = predict

    def predict(self, payload, headers=None):
        self.asked.append(headers)
        return self._predict(payload)


def send(model, sample=SAMPLE):
    return step(InProcessTransport(model, {"x-api-key": "k"}).send(sample))


def plain(payload):
    return {"predictions": payload["instances"]}


def test_a_plain_predict_is_answered_on_this_thread_with_the_headers_of_a_warm_up_request():
    threads = []
    model = Model(lambda payload: threads.append(threading.current_thread()) or plain(payload))
    assert send(model) > 0
    assert threads == [threading.current_thread()]
    (headers,) = model.asked
    assert headers["x-kserve-warmup"] == "true"
    assert headers["x-api-key"] == "k"


def asks_for_the_running_loop(payload):
    asyncio.get_running_loop()
    return plain(payload)


def asks_for_any_loop(payload):
    asyncio.get_event_loop()
    return plain(payload)


def makes_a_loop_if_there_is_none(payload):
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.new_event_loop()
    return plain(payload)


def sets_a_loop_if_there_is_none(payload):
    try:
        asyncio.get_event_loop()
    except Exception:  # noqa: BLE001 - as people write it
        asyncio.set_event_loop(None)
    return plain(payload)


def fails(_payload):
    raise ValueError("no weights")


def hands_out_a_coroutine(payload):
    async def later():
        return plain(payload)

    return later()


@pytest.mark.parametrize(
    "predict",
    [
        asks_for_the_running_loop,
        asks_for_any_loop,
        makes_a_loop_if_there_is_none,
        sets_a_loop_if_there_is_none,
        fails,
        hands_out_a_coroutine,
    ],
)
def test_what_needs_a_loop_or_fails_cannot_be_judged_here(predict):
    with pytest.raises(NotHereError):
        send(Model(predict))


def test_a_coroutine_that_suspends_cannot_be_judged_here_and_is_closed():
    closed = []

    class Async(kserve.Model):
        async def predict(self, payload, headers=None):
            try:
                await asyncio.sleep(0)
            finally:
                closed.append(True)

    with pytest.raises(NotHereError, match="SuspendedError"):
        send(Async("m"))
    assert closed == [True]


def test_a_hang_that_was_interrupted_waits_for_what_comes_with_the_server():
    def interrupted(_payload):
        raise NoAnswerError("no answer within 1 s")

    with pytest.raises(DependencyAwayError, match="no answer within 1 s"):
        send(Model(interrupted))


def test_stepping_ends_with_the_value_or_says_that_it_suspends():
    async def value():
        return 7

    async def suspends():
        await asyncio.sleep(0)

    assert step(value()) == 7
    with pytest.raises(SuspendedError):
        step(suspends())


def test_no_loop_is_left_behind_and_the_policy_is_the_one_from_before():
    before = asyncio.get_event_loop_policy()
    send(Model(plain))
    with pytest.raises(NotHereError):
        send(Model(asks_for_any_loop))
    assert asyncio.get_event_loop_policy() is before
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    assert asyncio.run(asyncio.sleep(0, "a loop runs afterwards as ever")) == "a loop runs afterwards as ever"


def test_other_threads_have_their_loops_meanwhile():
    found = []

    def in_a_thread():
        asyncio.set_event_loop(asyncio.new_event_loop())
        loop = asyncio.get_event_loop()
        found.append(loop.run_until_complete(asyncio.sleep(0, "ran")))
        loop.close()

    def predict(payload):
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
        return plain(payload)

    send(Model(predict))
    assert found == ["ran"]


def test_explain_is_called_for_what_was_sent_to_explain():
    class Explainer(kserve.Model):
        explained = 0

        def explain(self, payload, headers=None):
            self.explained += 1
            return {"explanations": []}

    model = Explainer("m")
    send(model, request("v1", json.dumps({"instances": [[1.0]]}).encode(), path="/v1/models/m:explain"))
    assert model.explained == 1
