"""What earlier starts learned of one stratum's latency, so that a later start may stop early where it sees the same.

A profile is small and holds no request: of each of its newest runs when latency settled, the plateau, the noise, and
the curve that led there as shares of the plateau. It is an expectation and never a verdict: see
:mod:`kserve_warmup.agreement`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from statistics import fmean, median, pstdev
from typing import Any

from kserve_warmup.errors import ProfileError

MOST_RUNS = 3
"""Older ones are forgotten: code, packages and neighbours change."""

_SCHEMA = 1
_MOST_TEXT = 16_384  # characters; three runs take about two thousand
_MOST_CALLS = 2000  # of a run; later ones are not looked at
_CURVE_CALLS = 1000  # of later ones no curve is kept
_MOST_SECONDS = 86_400.0
_MOST_RATIO = 1e15  # a day over the shortest latency that is told from zero
_DIGITS = 4
_WINDOW = 0.6  # newest share of the calls that the plateau is taken from, as the detector does
_LATEST = 0.6  # newest share of those, of which the typical call is taken
_FEW = 8  # calls: of fewer the plateau is taken from all after the last that was dear
_CUT = 3.0  # medians: what a call counts at most
_SETTLED = 0.05  # share of the plateau: what is further above it is not settled
_NOISY = 2.0  # standard errors: what is not further above it is noise
_LATER = 0.2  # of a call's number: so many calls after it must be dear too
_ONE_OFF = 1.5  # times all later calls
_SLOWER = 1.25  # times the typical call: wild calls aside, that is not the plateau
_AHEAD = 5  # calls that must all but one be at the plateau
_COMPILED = 3.0  # plateaus and
_HICCUP = 0.01  # seconds: longer than a neighbour on the same cores delays a call
_TINY = 1e-9  # seconds: clocks are coarse


def _edges() -> tuple[int, ...]:
    """Where the blocks of a curve begin and end: single calls first, later ones longer by a fifth each."""
    found = [0, 1, 2, 3, 4, 5, 6]
    while found[-1] < _CURVE_CALLS:
        found.append(math.ceil(found[-1] * 1.2))
    return tuple(found)


EDGES = _edges()


@dataclass(frozen=True, slots=True)
class LearnedRun:
    """One run of an earlier start.

    Attributes:
        calls: How many calls it had.
        settled: How many of them were made before latency was at the plateau.
        compiled: After how many of them a typical call was at the plateau for the first time, and nothing compiled.
        one_offs: The last call that was dearer by half than all after it, counted from 1; 0 if none was.
        typical: Seconds: the median at the plateau.
        plateau: Seconds: the mean at the plateau, wild calls cut.
        noise: The spread of a call as a share of the plateau.
        curve: Mean latency of each block of calls between two neighbours of ``EDGES``, as a share of the plateau.
    """

    calls: int
    settled: int
    compiled: int
    one_offs: int
    typical: float
    plateau: float
    noise: float
    curve: tuple[float, ...]

    def expected(self, start: int, end: int) -> float:
        """Return the mean of the calls from ``start``, counted from 0, up to ``end``, as a share of the plateau."""
        total, at = 0.0, start
        for (low, high), share in zip(pairwise(EDGES), self.curve, strict=False):
            overlap = min(end, high) - max(at, low)
            if overlap > 0:
                total, at = total + overlap * share, min(end, high)
        return (total + end - at) / (end - start)


@dataclass(frozen=True, slots=True)
class Profile:
    """What up to three earlier runs say of a stratum.

    Attributes:
        runs: The oldest first; one at least.
        hint: Whether they are of other code, packages, machine or samples: then their seconds say nothing, and only the
            shape of the curve is compared.
    """

    runs: tuple[LearnedRun, ...]
    hint: bool = False

    @classmethod
    def learn(cls, runs: Sequence[Sequence[float]]) -> Profile:
        """Learn from runs that were judged without a profile, the oldest first; only the newest three count.

        Args:
            runs: Each the latencies of a stratum in seconds, from the first call of a process on.

        Raises:
            ProfileError: There is no run, one is empty, or a latency is no number of seconds from 0 to a day.
        """
        if not runs:
            msg = "a profile needs one run to learn from, and got none"
            raise ProfileError(msg)
        return cls(tuple(_learn(run) for run in runs[-MOST_RUNS:]))

    def joined(self, other: Profile) -> Profile:
        """Return a profile with the newest runs of this and another, which is the newer one."""
        return Profile((self.runs + other.runs)[-MOST_RUNS:], self.hint or other.hint)

    def as_hint(self) -> Profile:
        """Return the same as no more than a hint: learned from other code, packages, machine or samples."""
        return replace(self, hint=True)

    def to_json(self) -> str:
        """Return one line of JSON; whether it is a hint is for the reader to find out."""
        return json.dumps({"schema": _SCHEMA, "runs": [asdict(run) for run in self.runs]}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Profile:
        """Read what :meth:`to_json` wrote.

        Raises:
            ProfileError: It is something else, or says what no run can have shown.
        """
        if len(text) > _MOST_TEXT:
            raise _bad(f"it is longer than {_MOST_TEXT} characters")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _bad("it is not JSON") from error
        if not isinstance(content, dict) or content.keys() != {"schema", "runs"}:
            raise _bad("it is not an object with schema and runs")
        if type(content["schema"]) is not int or content["schema"] != _SCHEMA:
            raise _bad(f"its schema is not {_SCHEMA}")
        runs = content["runs"]
        if not isinstance(runs, list) or not 0 < len(runs) <= MOST_RUNS:
            raise _bad(f"runs is not a list of 1 to {MOST_RUNS}")
        return cls(tuple(_read(run, f"runs[{index}]") for index, run in enumerate(runs)))


def _bad(why: str) -> ProfileError:
    return ProfileError(
        f"this is no warm-up profile: {why}; delete it, and the next start that judges in full learns anew"
    )


def _read(run: Any, where: str) -> LearnedRun:
    names = {field.name for field in fields(LearnedRun)}
    if not isinstance(run, dict) or run.keys() != names:
        raise _bad(f"{where} is not an object with {', '.join(sorted(names))}")
    calls = int(_number(run["calls"], f"{where}.calls", 1, _MOST_CALLS, whole=True))
    blocks = sum(start < calls for start in EDGES[:-1])
    curve = run["curve"]
    if not isinstance(curve, list) or len(curve) != blocks:
        raise _bad(f"{where}.curve is not a list of {blocks} numbers, as {calls} calls have")
    return LearnedRun(
        calls,
        int(_number(run["settled"], f"{where}.settled", 0, calls, whole=True)),
        int(_number(run["compiled"], f"{where}.compiled", 0, calls, whole=True)),
        int(_number(run["one_offs"], f"{where}.one_offs", 0, calls, whole=True)),
        _number(run["typical"], f"{where}.typical", _TINY, _MOST_SECONDS),
        _number(run["plateau"], f"{where}.plateau", _TINY, _MOST_SECONDS),
        _number(run["noise"], f"{where}.noise", 0, _MOST_RATIO),
        tuple(_number(share, f"{where}.curve[{index}]", 0, _MOST_RATIO) for index, share in enumerate(curve)),
    )


def _number(value: Any, where: str, least: float, most: float, *, whole: bool = False) -> float:
    if type(value) is not int and (whole or type(value) is not float):
        raise _bad(f"{where} is not a {'whole ' if whole else ''}number")
    if not least <= value <= most:
        raise _bad(f"{where} is not from {least:g} to {most:g}")
    return float(value)


def _learn(run: Sequence[float]) -> LearnedRun:
    seconds = [float(value) for value in run[:_MOST_CALLS]]
    if not seconds or not all(0 <= value <= _MOST_SECONDS for value in seconds):
        msg = "a profile is learned from runs of one call at least, each a number of seconds from 0 to a day"
        raise ProfileError(msg)
    window = list(_newest(seconds))
    plateau = max(tame_mean(window), _TINY)
    noise = min(pstdev([min(value, _CUT * plateau) for value in window]) / plateau, 1.0)
    curve = tuple(_shorten(tame_mean(block) / plateau) for block in _blocks(seconds))
    typical = max(median(window[-math.ceil(len(window) * _LATEST) :]), _TINY)
    return LearnedRun(
        len(seconds),
        _settled(seconds, plateau, noise),
        _compiled(seconds, typical),
        _one_offs(seconds),
        typical,
        plateau,
        _shorten(noise),
        curve,
    )


def _compiled(seconds: Sequence[float], typical: float) -> int:
    """After how many calls most were at the plateau for the first time, and none took so long that it compiled.

    What is slow again later comes from neighbours on the same cores more often than from the model.
    """
    dear = [call for call, value in enumerate(seconds, 1) if value > _COMPILED * typical + _HICCUP]
    last = max(dear, default=0)
    for calls in range(last, len(seconds)):
        ahead = seconds[calls : calls + _AHEAD]
        if seconds[calls] <= _SLOWER * typical or (calls and median(ahead) <= _SLOWER * typical):
            return calls
    return len(seconds) - 1


def _newest(seconds: list[float]) -> list[float]:
    """The calls that the plateau is taken from."""
    if len(seconds) >= _FEW:
        return seconds[-math.ceil(len(seconds) * _WINDOW) :]
    later = seconds[-1:]
    for value in reversed(seconds[:-1]):
        if value > _ONE_OFF * max(later):
            break
        later.insert(0, value)
    return later


def tame_mean(values: Sequence[float]) -> float:
    """Return the mean of values, of which none counts more than thrice their median."""
    most = _CUT * median(values)
    return fmean(min(value, most) for value in values)


def _blocks(seconds: Sequence[float]) -> Iterator[Sequence[float]]:
    return (seconds[start:end] for start, end in pairwise(EDGES) if start < len(seconds))


def _settled(seconds: Sequence[float], plateau: float, noise: float) -> int:
    """How many calls were made until latency stayed at the plateau; a hiccup is none of them, a compilation is.

    The later a call, the more calls that follow it have to be dear on average.
    """
    for calls in range(len(seconds), 0, -1):
        if seconds[calls - 1] > _COMPILED * plateau + _HICCUP:
            return calls
        count = max(_AHEAD, math.ceil(calls * _LATER))
        ahead = sorted(seconds[calls - 1 : calls - 1 + count])
        if calls > 1 and len(ahead) == count:
            few = tame_mean(ahead[:-1])
            if few > (1 + max(_SETTLED, _NOISY * noise / math.sqrt(count))) * plateau:
                return calls
    return int(len(seconds) > 1 and seconds[0] > (1 + _SETTLED) * plateau)


def _one_offs(seconds: Sequence[float]) -> int:
    """The last call that was dearer by half than all after it."""
    later = seconds[-1]
    for call in range(len(seconds) - 1, 0, -1):
        if seconds[call - 1] > _ONE_OFF * later:
            return call
        later = max(later, seconds[call - 1])
    return 0


def _shorten(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
