"""Large JSON bodies, decoded without holding all of their numbers as Python objects, ten times their size."""

from __future__ import annotations

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.bodies import json_body
from kserve_warmup.samples.sample import Protocol, Sample, keep_headers
from kserve_warmup.sampling.formats.record import Record
from kserve_warmup.sampling.number_lists import list_shape
from kserve_warmup.sampling.place import Placer, without_numbers

LARGE = 1 << 24
"""Bytes of a body, 16 MiB, above which its numbers are parsed piece by piece."""

_PIECE = 1 << 20
_NO_BRACKETS = bytes.maketrans(b"[]", b"  ")


def large_sample(record: Record, protocol: Protocol | None) -> Sample | None:
    """Return the request that a large JSON body makes, checked whole; None where it has to be parsed at once.

    Raises:
        SampleError: its body is no request.
    """
    if len(record.body) <= LARGE:
        return None
    stratum = Placer().by_head(record._replace(protocol=protocol or record.protocol))
    skeleton, cut = without_numbers(record.body)
    if stratum is None or not cut:
        return None
    for numbers in cut:
        text = record.body[numbers.start : numbers.stop]
        if list_shape(text) is None:
            return None
        _check_numbers(text)
    body = json_body(orjson.loads(skeleton), record.body, keep_headers(record.headers), stratum.protocol)
    return body.sample(record.path).but(signature=stratum.signature, batch=stratum.batch)


def _check_numbers(text: bytes) -> None:
    """Refuse nested lists, whose brackets and commas are in order, if what is between these is not all numbers."""
    start = 0
    while start < len(text):
        stop = text.find(b",", start + _PIECE)
        stop = len(text) if stop < 0 else stop
        try:
            orjson.loads(b"[" + text[start:stop].translate(_NO_BRACKETS) + b"]")
        except orjson.JSONDecodeError as error:
            raise SampleError(f"the body is not JSON: {error}") from None
        start = stop + 1
