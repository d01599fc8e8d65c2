"""Values that stand for private ones: same type, same length or shape, and no way back without the key."""

from __future__ import annotations

import functools
import hashlib
import itertools
import string
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kserve_warmup.errors import SampleError
from kserve_warmup.protocols.edits import Changed, leaves
from kserve_warmup.protocols.json_body import base64_text, unbase64
from kserve_warmup.protocols.tensors import BYTES, Array, to_dtype
from kserve_warmup.samples.sample import DATATYPES
from kserve_warmup.sampling.scrub.permutation import Limits, stand_in

_DIGEST = 64
_NO_BASE64 = "an object has a b64 that is not base64"


def map_leaves(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return nested lists and objects with every value in them changed; ``{"b64": …}`` stands for its bytes."""
    if isinstance(value, list):
        return [map_leaves(item, change) for item in value]
    if isinstance(value, dict):
        if set(value) == {"b64"} and isinstance(value["b64"], str):
            return {"b64": Changed(base64_text(_text_or_bytes(change(unbase64(value["b64"], _NO_BASE64)))))}
        return {key: map_leaves(item, change) for key, item in value.items()}
    if value is None:
        return None
    result = change(value)
    return Changed(result) if isinstance(result, str) else result


class Pseudonyms:
    """Hashes and noise for one record.

    Hashes depend on the key and the value: equal values stay equal. Noise depends on the key and the whole record, so
    that it is the same wherever and in whatever order records are read.
    """

    def __init__(self, key: bytes, record: bytes) -> None:
        """Take the key and the record that is to be changed."""
        self._key = key
        self._stand_ins: dict[tuple[int, Limits | None], int] = {}
        seed = hashlib.blake2b(record, key=key, digest_size=16).digest()
        self._random = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))

    def hashed(self, value: Any, datatype: str | None = None) -> Any:
        """Return a stand-in, never the value itself: text or bytes (as many bytes), or a whole number of the same kind.

        Args:
            value: text, bytes or a whole number.
            datatype: what the protocol says it is; None: it says nothing.

        Raises:
            SampleError: it is something else, or a number that its type cannot hold.
        """
        limits = _limits(datatype)
        if isinstance(value, str):
            return self._hex(value.encode(errors="surrogatepass")).decode()
        if isinstance(value, bytes):  # text has the same pseudonym over every protocol
            return self._raw(value) if _as_text(value) is None else self._hex(value)
        if isinstance(value, int) and not isinstance(value, bool):
            place = value, limits
            if place not in self._stand_ins:
                self._stand_ins[place] = stand_in(self._key, value, limits)
            return self._stand_ins[place]
        raise SampleError(_no_hash(type(value).__name__))

    def noise(self, value: Any) -> Any:
        """Return nested JSON values with noise of the same types and text of the same length in their place."""
        numbers = [v for v in leaves(value) if isinstance(v, (int, float)) and not isinstance(v, bool)]
        low, high = _range(np.array(numbers, dtype=np.float64)) if numbers else (0.0, 1.0)
        return map_leaves(value, lambda leaf: self._leaf(leaf, low, high))

    def noise_array(self, array: Array) -> Array:
        """Return an array of the same type and shape; numbers within the range of the old ones, 0 and 1 included."""
        if array.dtype.kind == "O":
            out = np.empty(array.shape, dtype=object)
            out.ravel()[:] = [self._leaf(value, 0, 1) for value in array.ravel()]
            return out
        if array.dtype.kind == "b":
            return self._random.integers(0, 2, array.shape).astype(array.dtype)
        if array.dtype.kind in "iu":
            low, high = min(0, int(array.min(initial=0))), max(1, int(array.max(initial=0)))
            return self._random.integers(low, high, array.shape, dtype=array.dtype, endpoint=True)
        with np.errstate(invalid="ignore"):  # NaN of a narrow type
            low_f, high_f = _range(array.astype(np.float64))
        return (low_f + self._random.random(array.shape) * (high_f - low_f)).astype(array.dtype)

    def _leaf(self, value: Any, low: float, high: float) -> Any:
        if isinstance(value, bool):
            return bool(self._random.integers(0, 2))
        if isinstance(value, int):
            return int(low) + int(self._random.random() * (int(high) - int(low) + 1))
        if isinstance(value, float):
            return low + float(self._random.random()) * (high - low)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes):
            text = _as_text(value)
            return self._random.bytes(len(value)) if text is None else self._text(text).encode()
        return value

    def _text(self, text: str) -> str:
        """Return random text with letters for letters and digits for digits, the rest as it is."""
        alphabets = [_alphabet(character) for character in text]
        picks = self._random.random(len(text))
        return "".join(a[int(p * len(a))] for a, p in zip(alphabets, picks, strict=True))

    def _hex(self, text: bytes) -> bytes:
        return next(o for d in self._digests(text) if (o := _stretch(d.hex().encode(), len(text))) != text or not text)

    def _raw(self, value: bytes) -> bytes:
        return next(out for digest in self._digests(value) if (out := _stretch(digest, len(value))) != value)

    def _digests(self, value: bytes) -> Iterator[bytes]:
        """Yield digests of a value, one after the other: of a single letter the first one may show that very letter."""
        for number in itertools.count():
            salt = number.to_bytes(hashlib.blake2b.SALT_SIZE, "big")
            yield hashlib.blake2b(value, key=self._key, digest_size=_DIGEST, salt=salt).digest()


def _limits(datatype: str | None) -> Limits | None:
    """Return what a type of whole numbers can hold, None for text and where there is no type."""
    if datatype in (None, BYTES):
        return None
    dtype = to_dtype(datatype) if datatype in DATATYPES else None
    if dtype is None or dtype.kind not in "iu":
        raise SampleError(_no_hash(str(datatype)))
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _no_hash(kind: str) -> str:
    if kind in ("bool", "BOOL"):
        return f"hash hides nothing of {kind}, which has two values: use replace or drop"
    return f"hash works on text and integers, not on {kind}: use noise or replace"


def _range(values: Array) -> tuple[float, float]:
    """Return bounds for noise. With 0 and 1 inside them no single value shows, and an index stays in its vocabulary."""
    finite = values[np.isfinite(values)]
    return float(finite.min(initial=0.0)), float(finite.max(initial=1.0))


@functools.lru_cache(maxsize=4096)
def _alphabet(character: str) -> str:
    """Return what may stand for a character: its like in kind, case and script, of the same length in UTF-8."""
    for alphabet in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if character in alphabet:
            return alphabet
    if not character.isalnum():
        return character
    block = range(max(0x80, ord(character) & ~0xFF), (ord(character) | 0xFF) + 1)
    return "".join(c for c in map(chr, block) if _kind(c) == _kind(character))


def _kind(character: str) -> tuple[bool, bool, bool, int]:
    size = len(character.encode(errors="surrogatepass"))
    return character.isalpha(), character.isdigit(), character.isupper(), size


def _stretch(digest: bytes, length: int) -> bytes:
    return (digest * (length // len(digest) + 1))[:length]


def _as_text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _text_or_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
