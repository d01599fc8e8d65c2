"""What a gate does for a while ends then, whatever becomes of its cancellation on the way."""

import asyncio

import pytest

from kserve_warmup.gate.cancelling import ended, for_seconds


class Deaf:
    """Work that swallows its first cancellation, as asyncio.wait_for does before Python 3.12."""

    swallowed = False

    async def work(self):
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if self.swallowed:
                    raise
                self.swallowed = True


def test_work_that_swallows_a_cancellation_ends_when_its_time_is_over():
    deaf = Deaf()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(for_seconds(0.01, deaf.work()), 60))
    assert deaf.swallowed


def test_what_work_raises_in_its_time_is_raised():
    async def fails():
        raise ValueError("gone")

    with pytest.raises(ValueError, match="gone"):
        asyncio.run(for_seconds(60, fails()))


def test_tasks_are_waited_for_until_all_have_ended():
    async def end():
        tasks = [asyncio.ensure_future(Deaf().work()), asyncio.ensure_future(asyncio.sleep(3600))]
        await asyncio.sleep(0)
        await ended(*tasks)
        return tasks

    assert all(task.cancelled() for task in asyncio.run(end()))
