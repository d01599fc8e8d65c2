"""How far a long reading is, as a person sees it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from strategies import v1_sample

from kserve_warmup.cli import progress


def test_a_terminal_shows_a_bar_with_rate_and_time_left(tmp_path):
    for hour in range(4):
        lines = b"\n".join(v1_sample(100, 2, value % 9).body for value in range(8000))
        (tmp_path / f"{hour}.jsonl").write_bytes(lines)
    size = f"{4 * len(lines) / 1e6:.1f}"
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "kserve_warmup", "sample", *map(str, sorted(tmp_path.iterdir()))]
    arguments = ["--out", str(tmp_path / "set"), "--model", "m"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    child = subprocess.Popen([*command, *arguments], stderr=theirs, stdout=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    shown = b""
    while chunk := _read(ours):
        shown += chunk
    assert child.wait() == 0
    text = shown.decode()
    assert "read" in text
    assert "━" in text
    assert f"{size}/{size} MB" in text
    assert " MB/s" in text
    assert "0:00:00" in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that nobody holds the other side any more
        return b""


def test_elsewhere_there_is_a_plain_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    with progress.reading() as tell:
        tell(0, 4_000_000_000)
        tell(1_000_000_000, 4_000_000_000)
        tell(4_000_000_000, 4_000_000_000)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("read 1.0 of 4.0 GB, ")
    assert line.endswith(" s left")
