"""Which attributes of a model its load has made: they stay behind when the model is sent to another process.

Sessions, devices and clients cannot be pickled and must be made again in each worker.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT = object()


class MadeByLoad:
    """Remembers what attributes were before anything was loaded."""

    def __init__(self) -> None:
        """Begin with none."""
        self._before: dict[str, Any] = {}
        self._recordings: list[dict[str, Any]] = []

    @contextmanager
    def recording(self, attributes: dict[str, Any]) -> Iterator[None]:
        """Note which of ``attributes`` are made or changed in this block.

        Builtin containers are copied, since a load may fill one that the constructor made.
        """
        self._recordings.append({key: _snapshot(value) for key, value in attributes.items()})
        try:
            yield
        finally:
            self._before = _changed(self._recordings.pop(), attributes) | self._before

    def without(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return ``attributes`` as they were before anything was loaded, also while a recording is under way.

        KServe starts workers while its parent process still warms its own gRPC path.
        """
        result, before = dict(attributes), self._before
        for recording in self._recordings:
            before = _changed(recording, result) | before
        for key, old in before.items():
            if old is _ABSENT:
                result.pop(key, None)
            else:
                result[key] = old
        return result


def _changed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return what was ``before`` in the attributes that are others ``now``, _ABSENT for those that are new."""
    pairs = {key: (before.get(key, _ABSENT), now.get(key, _ABSENT)) for key in now.keys() | before.keys()}
    return {key: old for key, (old, new) in pairs.items() if not _same(old, new)}


def _snapshot(value: Any) -> Any:
    return copy.copy(value) if type(value) in (dict, list, set) else value


def _same(old: Any, new: Any) -> bool:
    """Compare by identity; copied containers by the identity of what they hold."""
    if type(old) is not type(new) or type(old) not in (dict, list, set):
        return old is new
    if len(old) != len(new):
        return False
    if isinstance(old, dict):
        return all(key in new and new[key] is value for key, value in old.items())
    if isinstance(old, set):
        return bool(old == new)
    return all(a is b for a, b in zip(old, new, strict=True))
