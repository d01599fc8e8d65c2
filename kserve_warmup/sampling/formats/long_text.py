"""JSON records that hold a body in base64, read without parsing or copying that long string."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import orjson

from kserve_warmup.errors import SampleError
from kserve_warmup.sampling.formats.storage import MOST_WHOLE, whole

_BODY = re.compile(rb'"([Bb]ytes|body_b64)"\s*:\s*"')
_BETWEEN = re.compile(rb"[\s,]+")
_CUT = b"#"
"""Stands for the body while the rest is parsed; no base64 holds it."""

_HEAD = 4096
_BRACES = 16
_CHUNK = 2**20


class LongRecord(NamedTuple):
    """A JSON object and where it ends; its body is a view of the text, not of a string that JSON escapes."""

    fields: dict[str, Any]
    stop: int


def long_record(text: bytes, start: int = 0, stop: int | None = None) -> LongRecord | None:
    """Return the JSON object that begins at ``start``, or None when it is not one that holds a body in base64.

    Args:
        text: JSON text.
        start: where the object begins.
        stop: where it ends; None: to be found.
    """
    key = _BODY.search(text, start, start + _HEAD)
    quote = text.find(b'"', key.end()) if key else -1
    if key is None or quote < 0:
        return None
    end = quote
    for _ in range(_BRACES):
        end = text.find(b"}", end) + 1 if stop is None else stop
        if not end:
            break
        try:
            fields = orjson.loads(b"".join((text[start : key.end()], _CUT, text[quote:end])))
        except orjson.JSONDecodeError:
            if stop is not None:
                break
            continue  # the brace was one of a nested object, or stands in a string
        name = key[1].decode()
        if not isinstance(fields, dict) or fields.get(name) != _CUT.decode():
            break  # the key was one of a nested object
        fields[name] = memoryview(text)[key.end() : quote]
        return LongRecord(fields, end)
    return None


def long_records(stream: BinaryIO) -> Iterator[dict[str, Any] | bytes]:
    """Yield the objects of a JSON array of such records, holding only one at a time.

    Raises:
        SampleError: a record, or what is none, takes more than 1 GiB.

    The last item is JSON text: an array of what could not be read so, or the whole if it is no array of such records.
    """
    text = stream.read(_CHUNK).lstrip()
    position, more = 1, True
    if text[:1] != b"[":
        yield text + whole(stream)
        return
    while True:
        if between := _BETWEEN.match(text, position):
            position = between.end()
        record = long_record(text, position) if text[position : position + 1] == b"{" else None
        if record:
            yield record.fields
            position = record.stop
            continue
        # Each time twice as much, so that a long record is not searched again and again.
        if len(text) - position > MOST_WHOLE:
            raise SampleError(
                f"a record is longer than {MOST_WHOLE:,} bytes, or is none: it cannot be read any further"
            )
        chunk = stream.read(max(_CHUNK, len(text) - position)) if more else b""
        more = bool(chunk)
        text, position = text[position:] + chunk, 0
        if not more:
            yield b"[" + text
            return
