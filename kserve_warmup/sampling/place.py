"""Which stratum a recorded request belongs to, told without parsing its numbers.

Names, types and shapes take a few hundred bytes of a body; the numbers take the rest. So the lists of numbers are cut
out of a JSON body before it is parsed, by searches that run at the memory's speed, and a v1 list's shape is told by its
brackets and commas. What does not look as expected is parsed whole: the stratum is the same either way. A cut list may
still be damaged; that shows when a request is chosen and decoded whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import identify, is_claimed, json_body, parse
from kserve_warmup.protocols.codec import CODECS, Body
from kserve_warmup.protocols.inference_path import InferencePath, recorded
from kserve_warmup.protocols.variant import Variant, v1_variant
from kserve_warmup.samples.sample import Protocol, Signature, Stratum, TensorSpec
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.sampling.number_lists import list_end, list_shape, numbers_type
from kserve_warmup.sampling.v1_rows import rows_stratum


class Numbers(NamedTuple):
    """Where a list of numbers stands in a JSON body, and the key that it belongs to."""

    key: str
    start: int
    stop: int


# The key of a list of numbers, or of lists of them: no strings, objects, booleans or nulls before the first number.
_LIST = re.compile(rb'"(data|instances|inputs)"\s*:\s*(?=\[[\s\[]*[-\d])')
_ID = re.compile(rb'^\{"id"\s*:\s*"[^"\\]*"\s*,')
_REMEMBERED = 4096
_SHORT = 1024
_JSON = frozenset({None, *(codec.protocol for codec in CODECS.values() if codec.is_json)})
_BARE: Protocol = "v1"
"""Whose payload may be one list of numbers and nothing else."""

MOST_VALUES = 1 << 23
"""Values of a JSON body that is parsed whole; each takes up to a hundred bytes."""

_MOST_LISTS = 1 << 16
"""Lists that are cut out of a body: many short ones are no quicker to cut than to parse."""

_Head = tuple[Protocol | None, bytes]
_T = TypeVar("_T")
_FIXED = 8
"""The largest dimension that buckets leave as it is: image channels and the like."""


class Placer:
    """Tells requests' strata; it remembers the bodies' heads, which traffic repeats."""

    def __init__(self, *, buckets: bool = False) -> None:
        """Begin with an empty memory.

        Args:
            buckets: round dimensions up to powers of two, so that inputs of free length make few strata.
        """
        self._buckets = buckets
        self._heads: dict[_Head, Stratum | None] = {}
        self._bare_heads: dict[_Head, Variant | None] = {}
        self._strata: dict[Stratum, Stratum] = {}

    def place(self, record: Record) -> Stratum:
        """Return the stratum of a record.

        Raises:
            SampleError: its body is no request, or its path no inference endpoint.
        """
        stratum = self.by_head(record)
        if stratum is None:
            return self._known(exact(record))
        if record.path is None:
            return stratum
        endpoint = recorded(record.path, stratum.protocol)  # a log may hold more than inference
        usual = endpoint.verb == stratum.verb and endpoint.version is None
        return stratum if usual else self._known(stratum.at(endpoint))

    def by_head(self, record: Record) -> Stratum | None:
        """Return the stratum of a JSON body, wherever it was sent; None when it has to be parsed whole."""
        if not is_json(record.body, record.protocol):
            return None
        if record.protocol in (None, _BARE) and (stratum := rows_stratum(record.body)):
            return self._known(stratum)
        skeleton, cut = without_numbers(record.body)
        if skeleton.startswith(b'{"id"'):
            skeleton = _ID.sub(b"{", skeleton)  # new in every request: no head would be met again
        head = (record.protocol, skeleton)
        if len(cut) == 1 and cut[0].key != "data":
            variant = _remembered(self._bare_heads, head, lambda: _bare_variant(skeleton, cut[0].key, record.protocol))
            if variant is not None:
                return self._bare(cut[0].key, record.body[cut[0].start : cut[0].stop], variant)
            return None
        return _remembered(self._heads, head, lambda: self._declared(skeleton, record.protocol, whole=not cut))

    def _bare(self, key: str, text: bytes, variant: Variant) -> Stratum | None:
        """Return the stratum of a v1 body whose payload is one list of numbers."""
        shape = list_shape(text)
        if shape is None:
            return None
        datatype = "FP64" if numbers_type(text) is float else "INT64"
        signature = Signature((TensorSpec(key, datatype, shape[1:]),))
        return self._known(Stratum(_BARE, "predict", signature, shape[0], variant))

    def _declared(self, skeleton: bytes, protocol: Protocol | None, *, whole: bool) -> Stratum | None:
        """Return the stratum that a JSON body tells; only v2 tells it when the body is not ``whole``."""
        document = _loads(skeleton)
        if document is None or (protocol is None and not is_claimed(document)):
            return None
        body = json_body(document, protocol=protocol)
        if not whole and not CODECS[body.protocol].is_typed:
            return None
        return self._known(stratum_of(body))

    def _known(self, stratum: Stratum) -> Stratum:
        """Return the stratum, bucketed, always as the same object."""
        known = self._strata.get(stratum)
        if known is None:
            known = bucketed(stratum) if self._buckets else stratum
            if len(self._strata) >= _REMEMBERED:
                self._strata.clear()
            self._strata[stratum] = known
        return known


def is_json(body: bytes, protocol: Protocol | None) -> bool:
    """Return whether a body looks like a JSON object with nothing behind it."""
    return body[:1] == b"{" and protocol in _JSON and b'"binary_data_size"' not in body[:_SHORT]


def check_values(text: bytes) -> None:
    """Refuse JSON that would take gigabytes of memory once it is parsed, which its commas tell.

    Raises:
        SampleError: it would.
    """
    if len(text) > MOST_VALUES and (values := text.count(b",")) > MOST_VALUES:
        what = f"its body has some {values:,} values besides even lists of numbers"
        raise SampleError(f"{what}, more than {MOST_VALUES:,} that can be parsed: such a request is left out")


def exact(record: Record) -> Stratum:
    """Return the stratum of a record, its body parsed whole.

    Raises:
        SampleError: the body is no request, or the path no inference endpoint.
    """
    stratum = stratum_of(parsed(record))
    return stratum if record.path is None else stratum.at(recorded(record.path, stratum.protocol))


def parsed(record: Record, protocol: Protocol | None = None) -> Body:
    """Return the body of a record, parsed.

    Args:
        record: what was recorded.
        protocol: how its body is encoded; None: as the record says, or its content tells.

    Raises:
        SampleError: the body is no request.
    """
    protocol = protocol or record.protocol
    if is_json(record.body, protocol):
        check_values(record.body)
    if protocol is None:
        return identify(record.body, record.headers)
    return parse(protocol, record.body, record.headers)


def stratum_of(body: Body) -> Stratum:
    """Return the stratum of a parsed body that is sent where those of its kind usually are."""
    endpoint = InferencePath.parse(body.path, body.protocol)
    return Stratum(body.protocol, endpoint.verb, *body.signature(), body.variant())


def bucketed(stratum: Stratum) -> Stratum:
    """Return the stratum with each dimension above 8 rounded up to a power of two; the batch stays as it is."""
    inputs = (
        TensorSpec(i.name, i.datatype, tuple(d if d <= _FIXED else 1 << (d - 1).bit_length() for d in i.shape))
        for i in stratum.signature.inputs
    )
    return stratum._replace(signature=Signature(tuple(inputs), stratum.signature.batched))


def without_numbers(body: bytes) -> tuple[bytes, list[Numbers]]:
    """Return a JSON body with lists of numbers replaced by ``[]``, and what was cut out.

    A list of numbers ends before the first quote or brace behind it, which takes no parsing to find.
    """
    kept: list[bytes] = []
    cut: list[Numbers] = []
    position = brace = 0
    while len(cut) < _MOST_LISTS and (match := _LIST.search(body, position)):
        start = match.end()
        if brace < start:  # one that lies ahead is still the next: looking again would be quadratic in its distance
            brace = body.find(b"}", start)
        end = list_end(body, start, brace)
        if not end:
            break
        kept.append(body[position:start])
        cut.append(Numbers(match[1].decode(), start, end))
        position = end
    kept.append(body[position:])
    return b"[]".join(kept), cut


def _remembered(memory: dict[_Head, _T], head: _Head, tell: Callable[[], _T]) -> _T:
    """Return what a head tells, from memory when it is short and was met before."""
    if len(head[1]) > _SHORT:
        return tell()
    if head not in memory:
        if len(memory) >= _REMEMBERED:
            memory.clear()
        memory[head] = tell()
    return memory[head]


def _bare_variant(skeleton: bytes, key: str, protocol: Protocol | None) -> Variant | None:
    """Return a v1 body's variant if the list that was cut out at ``key`` is all the data that it holds, else None."""
    document = _loads(skeleton)
    if document is None or document.get(key) != [] or protocol not in (None, _BARE):
        return None
    return v1_variant(document) if key == "instances" or "instances" not in document else None


def _loads(skeleton: bytes) -> dict[str, Any] | None:
    check_values(skeleton)
    try:
        document = orjson.loads(skeleton)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None
