"""The stratum of v1 bodies with wide rows that are objects, or with named inputs, told without parsing their numbers.

Each list of numbers is cut out, whatever its key, before the rest is parsed. It leaves a number that no traffic holds,
by which it is found again in the document. What does not look as expected is left to those who parse all of it.
"""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

import orjson

from kserve_warmup.protocols.codec import declared_signature
from kserve_warmup.protocols.v1 import KINDS
from kserve_warmup.protocols.variant import v1_variant
from kserve_warmup.samples.sample import UNTYPED, Stratum
from kserve_warmup.sampling.number_lists import list_end, list_shape, numbers_type

_HEAD = re.compile(rb'\{\s*(?:"signature_name"\s*:\s*"[^"\\]*"\s*,\s*)?"(?:instances"\s*:\s*\[|inputs"\s*:)\s*\{')
_NUMBERS = re.compile(rb"\[[\s\[]*[-\d]")
_BEFORE = 8
"""Bytes before a list that may be blanks, with the colon behind its key."""

_WIDE = 2048
"""Bytes of an object from which on cutting its lists out takes less time than parsing them."""

_MARK = int.from_bytes(os.urandom(7), "big") << 6
"""The number that the first list leaves; the next ones count on from here."""


class Leaves(NamedTuple):
    """The shape of nested lists, and the types of what they hold in the end."""

    shape: tuple[int, ...]
    kinds: frozenset[type]


def rows_stratum(body: bytes) -> Stratum | None:
    """Return the stratum of such a body; None when it has to be parsed whole."""
    if not _HEAD.match(body) or len(body) < _WIDE * body.count(b"{"):
        return None
    skeleton, lists = _without_lists(body)
    try:
        document = orjson.loads(skeleton) if lists else None
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict) or ("instances" in document) == ("inputs" in document):
        return None
    found = _Columns(lists)
    facts = found.of_rows(document["instances"]) if "instances" in document else found.of_inputs(document["inputs"])
    if not facts or found.met != len(lists):  # else a list was cut out of a text, or hidden by a key that comes twice
        return None
    signature = declared_signature((name, KINDS.get(kinds, UNTYPED), shape) for name, (shape, kinds) in facts.items())
    return Stratum("v1", "predict", *signature, v1_variant(document))


class _Columns:
    """The inputs of a document out of which lists were cut."""

    def __init__(self, lists: list[Leaves]) -> None:
        self.lists = lists
        self.met = 0

    def of_rows(self, rows: Any) -> dict[str, Leaves] | None:
        """Return what each input is, where each row is an object of the same keys."""
        if not isinstance(rows, list) or set(map(type, rows)) != {dict}:
            return None
        names = rows[0].keys()
        if names == {"b64"} or any(row.keys() != names for row in rows):
            return None
        return self._all({name: self._column([row[name] for row in rows]) for name in names})

    def of_inputs(self, inputs: Any) -> dict[str, Leaves] | None:
        """Return what each named input is, where each is a list."""
        if not isinstance(inputs, dict):
            return None
        return self._all({n: self._cut(v) or self._plain(v) if type(v) is list else None for n, v in inputs.items()})

    def _column(self, values: list[Any]) -> Leaves | None:
        if type(values[0]) is not list:
            return self._plain(values)
        found = {self._cut(value) if type(value) is list else None for value in values}
        shapes = {one.shape for one in found if one}
        if None in found or len(shapes) > 1:
            return None
        return Leaves((len(values), *shapes.pop()), frozenset().union(*(one.kinds for one in found if one)))

    def _plain(self, values: list[Any]) -> Leaves | None:
        kinds = frozenset(map(type, values))
        return None if kinds & {list, dict} else Leaves((len(values),), kinds)

    def _cut(self, value: list[Any]) -> Leaves | None:
        """Return what the list was that left this one."""
        number = value[0] - _MARK if len(value) == 1 and type(value[0]) is int else -1
        if not 0 <= number < len(self.lists):
            return None
        self.met += 1
        return self.lists[number]

    def _all(self, facts: dict[str, Leaves | None]) -> dict[str, Leaves] | None:
        known = {name: fact for name, fact in facts.items() if fact}
        return known if len(known) == len(facts) else None


def _without_lists(body: bytes) -> tuple[bytes, list[Leaves]]:
    """Return a body out of which lists of numbers are cut, and what these were; none if one of them takes parsing."""
    kept: list[bytes] = []
    lists: list[Leaves] = []
    position = at = brace = 0
    while (start := body.find(b"[", at)) >= 0:
        at = start + 1
        if not body[max(0, start - _BEFORE) : start].rstrip().endswith(b":") or not _NUMBERS.match(body, start):
            continue
        brace = body.find(b"}", start) if brace < start else brace
        end = list_end(body, start, brace)
        if not end:
            break
        text = body[start:end]
        shape = list_shape(text)
        if not shape:
            return body, []
        kept += (body[position:start], b"[%d]" % (_MARK + len(lists)))
        lists.append(Leaves(shape, frozenset([numbers_type(text)])))
        position = at = end
    kept.append(body[position:])
    return b"".join(kept), lists
