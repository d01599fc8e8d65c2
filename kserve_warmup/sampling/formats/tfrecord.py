"""TensorFlow Serving's warm-up files: TFRecords of ``PredictionLog``, read without TensorFlow.

``assets.extra/tf_serving_warmup_requests`` beside a SavedModel, or what TensorFlow Serving's own request logging
writes. Requests to Predict become v2 binary ones; those to Classify, Regress and MultiInference hold ``tf.Example``s,
which are no tensors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from kserve_warmup.errors import SampleError
from kserve_warmup.extras import optional
from kserve_warmup.sampling.formats import prediction_log as _prediction_log
from kserve_warmup.sampling.formats.record import BadRecord, Part, ReadOptions, Record, converted
from kserve_warmup.sampling.formats.rows import made_of
from kserve_warmup.sampling.formats.storage import UNREADABLE, exactly, opened

_HEADER = struct.Struct("<QI")  # length, masked CRC-32C of the length
_FOOTER = struct.Struct("<I")  # masked CRC-32C of the data
_MASK = 0xA282EAD8
_CHUNK = 1 << 20
_LARGEST = 1 << 31
"""protobuf has no larger messages."""

_FIRST_TAGS = bytes(number << 3 | 2 for number in range(1, 8))
"""The tags of all of PredictionLog's fields, which are messages."""


def sniff(head: bytes) -> bool:
    """Return whether a file begins with a length, and behind the checksum with a field that a PredictionLog has."""
    if len(head) <= _HEADER.size:
        return False
    length, _ = _HEADER.unpack_from(head)
    return 0 < length < _LARGEST and head[_HEADER.size] in _FIRST_TAGS


def read(part: Part, options: ReadOptions) -> Iterator[Record | BadRecord]:
    """Yield the Predict requests of a file; what follows a damaged length cannot be found again."""

    def made(data: bytes | SampleError, *at: Any) -> Record:
        if isinstance(data, SampleError):
            raise data
        return made_of(_prediction_log.tensors(data, options), *at)

    number = 0
    try:
        with opened(part.file) as stream:
            for number, data in enumerate(_records(stream, options.max_line), 1):
                yield from converted([(number, "record", data)], made, part.file)
    except SampleError as error:
        yield BadRecord(part.file, str(error), number + 1)
    except UNREADABLE as error:
        yield BadRecord(part.file, f"cannot be read any further: {error}", number + 1)


def _records(stream: BinaryIO, most: int) -> Iterator[bytes | SampleError]:
    while header := stream.read(_HEADER.size):
        length, crc = _HEADER.unpack(header) if len(header) == _HEADER.size else (0, None)
        if crc != _masked(header[:8]) or length > _LARGEST:
            raise SampleError("cannot be read any further: the record's length is damaged (its CRC-32C differs)")
        if length > most:
            left = length + _FOOTER.size
            while left > 0 and (part := stream.read(min(left, _CHUNK))):
                left -= len(part)
            yield SampleError(f"the record has {length:,} bytes, more than --max-body leaves room for")
            continue
        data, footer = exactly(stream, length), stream.read(_FOOTER.size)
        if len(data) < length or len(footer) < _FOOTER.size:
            raise SampleError(f"the record is cut off: {len(data)} of {length} bytes are there")
        if _FOOTER.unpack(footer)[0] != _masked(data):
            yield SampleError("the record is damaged: its CRC-32C differs")
        else:
            yield data


def _masked(data: bytes) -> int:
    """Return the CRC-32C as TFRecords hold it (tensorflow/core/lib/hash/crc32c.h)."""
    crc: int = optional("google_crc32c", "TFRecords need").value(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF
