"""Warm-up as tritonserver's own log tells it: one line a call, with a time in microseconds.

Warm-up is neither traced nor timed call by call in the statistics, but with ``--log-verbose=1`` each call of each block
is announced before it runs ("model 'm' instance m_0_0 is running warmup sample 'b' for iteration 3",
src/backend_model_instance.cc).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

_LINE = re.compile(
    r"I(?P<day>\d{4}) (?P<clock>\d\d:\d\d:\d\d\.\d{6}) .*?\] (?P<quote>\"?)model '(?P<model>.*)' instance "
    r"(?P<instance>\S+) is running warmup sample '(?P<block>.*)' for iteration (?P<number>\d+)(?P=quote)\s*"
)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that began: of which block, on which instance, and when."""

    instance: str
    block: str
    number: int
    at: datetime


def calls(log: str, model: str) -> list[Call]:
    """Return the warm-up calls of ``model`` in the order of the log."""
    found = []
    for line in log.splitlines():
        if " is running warmup sample " not in line or not (match := _LINE.fullmatch(line)):
            continue
        if _unquoted(match["model"], quoted=bool(match["quote"])) == model:
            # The log has no year: a leap year knows every day.
            at = datetime.strptime(f"2000{match['day']} {match['clock']}", "%Y%m%d %H:%M:%S.%f")  # noqa: DTZ007
            block = _unquoted(match["block"], quoted=bool(match["quote"]))
            found.append(Call(match["instance"], block, int(match["number"]), at))
    return found


def durations(found: Iterable[Call]) -> dict[str, dict[str, list[float]]]:
    """Return the seconds that the calls of each block took, in order, by block and instance.

    A call ends when the next one of its instance begins, so the very last one of an instance has no time.
    """
    by_instance: dict[str, list[Call]] = {}
    for call in found:
        by_instance.setdefault(call.instance, []).append(call)
    series: dict[str, dict[str, list[float]]] = {}
    for instance, sequence in by_instance.items():
        for call, after in pairwise(sequence):
            took = (after.at - call.at) / timedelta(seconds=1)
            series.setdefault(call.block, {}).setdefault(instance, []).append(max(0.0, took))
    return series


def _unquoted(text: str, *, quoted: bool) -> str:
    """Undo the escapes of a message that the server wrote as a JSON string."""
    try:
        return str(json.loads(f'"{text}"')) if quoted else text
    except ValueError:
        return text
