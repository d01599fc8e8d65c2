"""A gate that lives for months must not grow: hundreds of starts and stops leave nothing behind."""

import asyncio
import gc
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from sample_sets import samples, save

from kserve_warmup.gate import pages
from kserve_warmup.gate.main import build
from kserve_warmup.gate.options import checked


def held():
    """Return what the process holds: open files, threads, tasks, megabytes."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    megabytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
    return len(list(Path("/proc/self/fd").iterdir())), threading.active_count(), len(asyncio.all_tasks()), megabytes


async def until_ready(gate):
    while not gate.state.ready:  # noqa: ASYNC110 - the gate is looked at as its port does
        await asyncio.sleep(0.001)


async def start_and_stop(plan):
    gate = build(plan)
    port = await pages.serve("127.0.0.1", 0, lambda: gate.state)
    running = asyncio.ensure_future(gate.run())
    await asyncio.wait_for(until_ready(gate), 30)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    port.close()
    await port.wait_closed()


@pytest.mark.alone
@pytest.mark.parametrize(("protocol", "cycles"), [("v2", 250), ("grpc", 100)])
def test_hundreds_of_starts_and_stops_leave_nothing(start, tmp_path, protocol, cycles):
    server = start("Plain", enabled="false")
    server.wait_ready()
    folder = save(tmp_path / "samples", samples(protocol, rows=(1,)))
    plan = checked(f"http://127.0.0.1:{server.http}", folder, grpc=f"127.0.0.1:{server.grpc}", max_calls=1)

    async def run():
        for _ in range(cycles // 5):
            await start_and_stop(plan)
        await asyncio.sleep(0.5)
        before = held()
        for _ in range(cycles):
            await start_and_stop(plan)
        await asyncio.sleep(0.5)  # gRPC closes its sockets in its own time
        return before, held()

    before, after = asyncio.run(run())

    assert after[0] <= before[0]
    assert after[1:3] == before[1:3]
    assert after[3] < before[3] + 1.5
