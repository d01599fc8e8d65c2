"""Compressed request bodies (``content-encoding``), as clients and gateways send them: kept as what they hold.

The header itself is not kept, so what is sent again is the plain body with its content type.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from kserve_warmup.errors import SampleError
from kserve_warmup.sampling.formats.record import MAX_BODY, Record

_GZIP_OR_ZLIB, _BARE_DEFLATE = 47, -15


def plain(record: Record, most: int = MAX_BODY) -> Record:
    """Return a record with its body as it was before its client compressed it; others as they are.

    Args:
        record: what was recorded.
        most: bytes that the plain body may have.

    Raises:
        SampleError: the encoding is unknown, the body is damaged, or larger than ``most``.
    """
    encoding = _encoding(record.headers)
    if not encoding:
        return record
    body = record.body
    for name in reversed([name.strip() for name in encoding.split(",")]):
        body = _decoded(name, body, most)
    headers = {name: value for name, value in record.headers.items() if name.lower() != "content-encoding"}
    return record._replace(body=body, headers=headers)


def _encoding(headers: Mapping[str, Any]) -> str:
    value = next((value for name, value in headers.items() if name.lower() == "content-encoding"), None)
    encoding = value.strip().lower() if isinstance(value, str) else ""
    return "" if encoding == "identity" else encoding


def _decoded(name: str, body: bytes, most: int) -> bytes:
    if name == "identity":
        return body
    if name not in ("gzip", "x-gzip", "deflate"):
        raise SampleError(f"its content-encoding is {name[:40]!r}: gzip and deflate are read, record it without")
    if body[:1] in (b"{", b"["):
        return body  # a log of what has been decoded already, with the headers as they came
    try:
        return _inflated(body, _GZIP_OR_ZLIB, most)
    except zlib.error as error:
        if name == "deflate":  # which some clients send without its frame
            try:
                return _inflated(body, _BARE_DEFLATE, most)
            except zlib.error:
                pass
        raise SampleError(f"its content-encoding is {name}, but the body is damaged: {error}") from None


def _inflated(body: bytes, bits: int, most: int) -> bytes:
    found: list[bytes] = []
    room = most
    while body:  # a gzip body may have several members
        stream = zlib.decompressobj(bits)
        found.append(stream.decompress(body, room + 1))
        room -= len(found[-1])
        if room < 0:
            raise SampleError(f"its body has more than {most:,} bytes once it is decompressed: see --max-body")
        if not stream.eof:
            raise zlib.error("it is cut off")
        body = stream.unused_data
    return b"".join(found)
