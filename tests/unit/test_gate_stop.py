"""SIGTERM ends the gate whatever it waits for, and whatever happens at the same moment."""

import asyncio
import signal
from contextlib import suppress

import pytest
from strategies import v1_sample

from kserve_warmup.gate import main
from kserve_warmup.gate.gate_plan import GateSettings, ModelSamples, Plan
from kserve_warmup.gate.guard import Gate


class Answers:
    """A server whose answer comes when SIGTERM does: ``wait_for`` of Python 3.10 and 3.11 swallows the cancellation."""

    connections, dropped = 0, False

    async def check_ready(self):
        with suppress(asyncio.CancelledError):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    def drop(self):
        self.dropped = True


def test_a_server_that_answers_at_the_moment_of_sigterm_does_not_keep_the_gate():
    sets = (ModelSamples("digits", (v1_sample(1, 1, 1),)),)
    server = Answers()
    gate = Gate(server, sets, GateSettings(), None, None)
    plan = Plan("http://127.0.0.1:9", None, None, "127.0.0.1", 0, GateSettings(), sets)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asyncio.wait_for(main._run(gate, plan), 20))

    assert server.dropped
