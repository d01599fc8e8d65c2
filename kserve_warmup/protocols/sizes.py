"""Sizes of what has no shape, in steps: requests of about the same size are alike."""

from __future__ import annotations

_SMALL_BITS = 8


def size_class(length: int) -> int:
    """Return the power of four, from 256 on, that a length rounds up to."""
    bits = max(_SMALL_BITS, (max(length, 1) - 1).bit_length())
    return int(1 << (bits + bits % 2))
