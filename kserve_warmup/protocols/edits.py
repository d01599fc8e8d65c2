"""Rules at work on a parsed body: what is where in it changes, or is refused when no rule covers it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.tensors import BYTES, Array, Tensor

Parts = tuple[Any, ...]
"""The keys and indices that lead to a value of a document."""

Place = tuple[Any, Any, str | None]
"""A list or an object, the index or key in it, and the datatype that the protocol gives to what is there."""


class UncoveredError(SampleError):
    """A request holds text that no rule covers, although ``strict`` is set."""


class Changed(str):
    """Text that a rule has made; what is not of this type was in the traffic."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """One rule for one record: where, and how a JSON value (with its datatype, if it has one) and a tensor change.

    It looks at the input that is called ``input``, or at what ``find`` yields of a document: the parent, the index or
    key in it, and the parts that lead there from the top. ``where`` names the place in messages.
    """

    where: str
    input: str | None
    find: Callable[[Any], Iterable[tuple[Any, Any, Parts]]] | None
    drop: bool
    value: Callable[[Any, str | None], Any]
    array: Callable[[Tensor], Array]

    def failed(self, error: SampleError) -> SampleError:
        """Return an error with the rule's place before it."""
        return SampleError(f"scrub rule for {self.where}: {error}")

    def change(self, found: Iterable[Place]) -> int:
        """Change what was found in a document; return the number of places."""
        places = list(found)
        if self.drop:  # of a list from behind: what follows moves
            places.sort(key=lambda place: -place[1] if isinstance(place[1], int) else 0)
        try:
            for parent, key, datatype in places:
                if self.drop:
                    del parent[key]
                else:
                    parent[key] = self.value(parent[key], datatype)
        except SampleError as error:
            raise self.failed(error) from None
        return len(places)

    def changed(self, tensor: Tensor) -> Tensor:
        """Return a tensor as the rule makes it."""
        try:
            return Tensor(tensor.name, tensor.datatype, self.array(tensor))
        except SampleError as error:
            raise self.failed(error) from None


def refuse_tensors(tensors: Iterable[tuple[str, str]], covered: set[str]) -> None:
    """Refuse text in tensors, told by name and datatype, that are not ``covered``."""
    for name, datatype in tensors:
        if datatype == BYTES and name not in covered:
            raise UncoveredError(_uncovered(f"input {name!r}", f"{{input: {name}, action: noise}}"))


def refuse_text(document: Any, is_structural: Callable[[Parts], bool]) -> None:
    """Refuse text of a document that no rule has changed, and that is not the protocol's own at its place."""
    for parts, value in _texts(document, ()):
        if not isinstance(value, Changed) and not is_structural(parts):
            path = "$" + "".join("[*]" if isinstance(part, int) else _step(part) for part in parts)
            raise UncoveredError(_uncovered(path, f'{{path: "{path}", action: noise}}'))


def leaves(value: Any) -> Iterator[Any]:
    """Yield what nested lists and objects hold."""
    if isinstance(value, (list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def dumps(document: Any) -> bytes:
    """Return JSON as small as it gets; NaN passes as it did on the way in."""
    try:
        return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate, which JSON can only escape
        return json.dumps(document, separators=(",", ":")).encode()


def _step(key: str) -> str:
    """Return how a path goes into a key; one that is no plain word is quoted, control characters escaped."""
    return f".{key}" if key.isidentifier() else f"[{key!r}]"


def _uncovered(where: str, rule: str) -> str:
    return f"scrub strict: {where} holds text that no rule covers: add a rule, such as {rule}"


def _texts(value: Any, parts: Parts) -> Iterator[tuple[Parts, str]]:
    if isinstance(value, str):
        yield parts, value
    elif isinstance(value, (list, dict)) and any(isinstance(v, str) for v in leaves(value)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(item, (*parts, key))
