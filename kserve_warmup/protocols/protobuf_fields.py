"""The top-level fields of a serialised protobuf message, walked strictly and without parsing what they hold.

A message is a sequence of fields without an end mark. So a body whose last field is cut off would take what is appended
to it, such as a model's name, into that field; here it is refused, and with it all that readers may differ about.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from kserve_warmup.errors import SampleError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MORE = 0x80
_MOST_TAG, _MOST_VARINT = 5, 10
"""Bytes that a tag or a length, and a value, may take."""


def fields(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield each top-level field's number, and the positions where it begins and ends; together they are the body.

    Raises:
        SampleError: a field is cut off, is a group (which nothing but its end mark closes), or is no field.
    """
    position = 0
    while position < len(body):
        start = position
        tag, position = _varint(body, position, _MOST_TAG)
        number, kind = tag >> 3, tag & 7
        if not number or tag >> 32:
            raise SampleError(f"the message is malformed: no field begins at byte {start}")
        if kind == _VARINT:
            _, position = _varint(body, position, _MOST_VARINT)
        elif kind == _LENGTH:
            length, position = _varint(body, position, _MOST_TAG)
            position += length
        elif kind in _FIXED_SIZES:
            position += _FIXED_SIZES[kind]
        else:
            raise SampleError(
                f"the message is malformed: field {number} at byte {start} is a group or of no known type"
            )
        if position > len(body):
            raise SampleError(f"the message is cut off: its field {number} at byte {start} goes on behind the end")
        yield number, start, position


def infer_request(body: bytes) -> Any:
    """Return the ``ModelInferRequest`` of ``body``.

    Raises:
        SampleError: it is no such message.
    """
    message, refused = _infer_message()
    try:
        return message.FromString(body)
    except refused:
        msg = "the body is not a serialised ModelInferRequest"
        raise SampleError(msg) from None


@cache
def _infer_message() -> tuple[Any, type[Exception]]:
    from google.protobuf.message import DecodeError

    from kserve_warmup.protocols.infer_message import model_infer_request

    return model_infer_request(), DecodeError


def without(body: bytes, number: int) -> bytes:
    """Return a message without its fields of this number, which may stand in it more than once.

    Raises:
        SampleError: the message is cut off or malformed.
    """
    gone = [(start, stop) for found, start, stop in fields(body) if found == number]
    if not gone:
        return body
    starts, stops = [0, *(stop for _, stop in gone)], [*(start for start, _ in gone), len(body)]
    return b"".join(body[start:stop] for start, stop in zip(starts, stops, strict=True))


def values(body: bytes, number: int) -> Iterator[bytes]:
    """Yield what the fields of this number hold that have a length: texts, messages or bytes.

    Raises:
        SampleError: the message is cut off or malformed.
    """
    for found, start, stop in fields(body):
        if found == number and body[start] & 7 == _LENGTH:
            length, position = _varint(body, _varint(body, start, _MOST_TAG)[1], _MOST_TAG)
            assert position + length == stop, "the field was walked over"
            yield body[position:stop]


def text_field(number: int, text: str) -> bytes:
    """Return a serialised message with one field: ``number``, below 16, is ``text``."""
    value, length = text.encode(), bytearray()
    rest = len(value)
    while rest >= _MORE:  # a varint carries seven bits a byte
        length.append(rest & 0x7F | _MORE)
        rest >>= 7
    return bytes([number << 3 | _LENGTH, *length, rest]) + value


def _varint(body: bytes, position: int, most: int) -> tuple[int, int]:
    """Return the number at a position, and the position behind it."""
    value = 0
    for index, byte in enumerate(body[position : position + most]):
        value |= (byte & 0x7F) << 7 * index
        if byte < _MORE:
            return value, position + index + 1
    raise SampleError(f"the message is cut off or malformed at byte {position}")
