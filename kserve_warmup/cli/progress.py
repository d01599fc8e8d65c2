"""How far a long reading is: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from kserve_warmup.cli.console import notes

LINE_SECONDS = 10


@contextmanager
def reading() -> Iterator[Callable[[int, int], None]]:
    """Show progress while the block runs; call what it gives with the bytes that are done and those in all."""
    console = notes()
    if not console.is_terminal:
        yield _lines()
        return
    columns = (
        TextColumn("read"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("read", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _lines() -> Callable[[int, int], None]:
    begin = last = time.monotonic()

    def line(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done and done < total and now - last >= LINE_SECONDS:
            last = now
            rate = done / (now - begin)
            left = (total - done) / rate
            sys.stderr.write(
                f"read {done / 1e9:.1f} of {total / 1e9:.1f} GB, {rate / 1e6:.0f} MB/s, {left:.0f} s left\n"
            )

    return line
