"""Whole numbers that stand for others: a keyed permutation of all numbers of the same kind which leaves none as it was.

Numbers are of one kind when they have the same sign and as many decimal digits, within the limits of their type. Of
each kind there are nine at least. A key turns them all into one cycle, and a number's stand-in is the next one in it:
so equal numbers have equal stand-ins, different ones different ones, and no number is its own.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

from kserve_warmup.errors import SampleError

Limits = tuple[int, int]
"""The least and the greatest number, both included."""

SMALL = 10_000
"""Numbers of which the cycle is drawn outright; that of more follows from a cipher."""

ROUNDS = 8

_EDGES = (-(2**63), 2**63, 2**64)
"""The first numbers beyond a type: INT64 and numbers of JSON, which have no type, get the same stand-ins."""


def stand_in(key: bytes, value: int, limits: Limits | None = None) -> int:
    """Return the number that stands for ``value``.

    Args:
        key: another one gives other stand-ins.
        value: the number.
        limits: what its type can hold; None: it has no type.

    Raises:
        SampleError: the type cannot hold ``value``.
    """
    low, high = kind(value, limits)
    size, position = high - low + 1, value - low
    tag = key + b"|%x,%x|" % (low, high)
    if size <= SMALL:
        return low + _cycle(tag, size)[position]
    return low + _cipher(tag, size, (_decipher(tag, size, position) + 1) % size)


def kind(value: int, limits: Limits | None = None) -> Limits:
    """Return the numbers of the same kind as ``value``."""
    top = 10 ** _digits(abs(value))
    least = 0 if top == 10 else top // 10  # noqa: PLR2004  (of numbers with one digit, 0 is the least)
    low, high = (least, top - 1) if value >= 0 else (1 - top, -max(1, least))
    for edge in _EDGES:
        if low < edge <= high:
            low, high = (edge, high) if value >= edge else (low, edge - 1)
    if limits is not None:
        low, high = max(low, limits[0]), min(high, limits[1])
        if not low <= value <= high:
            raise SampleError(f"a whole number is not between {limits[0]} and {limits[1]}, as its type says")
    return low, high


def _digits(value: int) -> int:
    """Return the decimal digits of a number, however many: Python writes no more than 4300."""
    digits = max(1, int((value.bit_length() - 1) * math.log10(2)))
    while 10**digits <= value:
        digits += 1
    return digits


@lru_cache(maxsize=64)
def _cycle(tag: bytes, size: int) -> tuple[int, ...]:
    """Return for each of ``size`` positions the next in one cycle of all, drawn evenly (Sattolo, IPL 1986)."""
    drawn = hashlib.shake_256(tag).digest(8 * size)
    following = list(range(size))
    for last in range(size - 1, 0, -1):
        other = int.from_bytes(drawn[8 * last : 8 * last + 8], "big") % last
        following[last], following[other] = following[other], following[last]
    return tuple(following)


def _cipher(tag: bytes, size: int, position: int) -> int:
    """Return where a keyed permutation puts a position: a Feistel network (Black and Rogaway, CT-RSA 2002)."""
    rows, columns = _sides(size)
    while True:  # the network permutes a few positions more: those outside are walked past
        row, column = divmod(position, columns)
        for number in range(ROUNDS):
            if number % 2:
                row = (row + _drawn(tag, number, column, rows)) % rows
            else:
                column = (column + _drawn(tag, number, row, columns)) % columns
        position = row * columns + column
        if position < size:
            return position


def _decipher(tag: bytes, size: int, position: int) -> int:
    """Undo :func:`_cipher`."""
    rows, columns = _sides(size)
    while True:
        row, column = divmod(position, columns)
        for number in reversed(range(ROUNDS)):
            if number % 2:
                row = (row - _drawn(tag, number, column, rows)) % rows
            else:
                column = (column - _drawn(tag, number, row, columns)) % columns
        position = row * columns + column
        if position < size:
            return position


def _sides(size: int) -> tuple[int, int]:
    """Return the sides of a nearly square table of at least ``size`` fields."""
    rows = math.isqrt(size - 1) + 1
    return rows, -(-size // rows)


@lru_cache(maxsize=1 << 16)
def _drawn(tag: bytes, number: int, half: int, below: int) -> int:
    """Return a number from 0 to ``below`` that depends on all of the arguments."""
    length = below.bit_length() // 8 + 9  # eight bytes more than it takes leave no bias
    text = tag + b"|%d,%x" % (number, half)
    fast = length <= hashlib.sha256().digest_size
    return (
        int.from_bytes(hashlib.sha256(text).digest() if fast else hashlib.shake_256(text).digest(length), "big") % below
    )
