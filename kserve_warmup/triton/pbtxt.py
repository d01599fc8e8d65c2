"""Put generated blocks into a hand-written ``config.pbtxt`` without touching any other byte of it.

protobuf's own writer drops comments, layout and every field it does not know, so a user's file is never written anew.
The generated text stands in a span of its own between two marker comments. What is outside the span stays byte for
byte, and the file must mean the same as before in everything but ``model_warmup``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig
from kserve_warmup.triton.model_config import line_of, parse, tokens, top_level_words

_BEGIN = "# >>> kserve-warmup {key}.{digest}: generated from real requests, edits in here are lost >>>"
_END = "# <<< kserve-warmup <<<"
_BEGIN_LINE = re.compile(rb"# >>> kserve-warmup ([0-9a-f]+)\.([0-9a-f]+): .*")


@dataclass(frozen=True, slots=True)
class Span:
    """The generated part of a file: bytes ``start`` to ``end``, the line ends around it included.

    ``key`` stands for what the generator was given, see :func:`merge`, and ``digest`` for what was written.
    """

    start: int
    end: int
    key: str
    digest: str

    def inside(self, text: bytes) -> bytes:
        """Return the span's own text, markers included."""
        return text[self.start : self.end]

    def edited(self, text: bytes) -> bool:
        """Return whether somebody changed the part after it was generated; converted line ends do not count."""
        lines = self.inside(text).replace(b"\r\n", b"\n").strip(b"\n").split(b"\n")
        return _digest(lines[1:-1]) != self.digest

    def outside(self, text: bytes) -> bytes:
        """Return ``text`` as it is without the span; what was written after the span never joins the line before it."""
        before, after = text[: self.start], text[self.end :]
        joint = _eol(self.inside(text)) if before and after and not before.endswith(b"\n") else b""
        return before + joint + after


def own_span(text: bytes) -> Span | None:
    """Return where the generated part of ``text`` is, or None when there is none.

    Raises:
        TritonConfigError: The marker comments were damaged.
    """
    if b" kserve-warmup " not in text:
        return None
    begin = end = None
    for token in tokens(text):
        if token.kind != "comment":
            continue
        comment = text[token.start : token.end].rstrip(b"\r")
        match = _BEGIN_LINE.fullmatch(comment)
        if match is None and comment != _END.encode():
            continue
        first = begin is None if match else (begin is not None and end is None)
        if token.depth or not first:
            raise _damaged(text, token.start)
        if match:
            begin = (token.start, match[1].decode(), match[2].decode())
        else:
            end = token.end
    if begin is None:
        return None
    if end is None:
        raise _damaged(text, begin[0])
    start, stop = _line_ends(text, begin[0], end)
    return Span(start, stop, *begin[1:])


def _damaged(text: bytes, position: int) -> TritonConfigError:
    where = line_of(text, position)
    return TritonConfigError(
        f"line {where}: a kserve-warmup marker comment without its partner; remove the generated part"
    )


def _line_ends(text: bytes, begin: int, end: int) -> tuple[int, int]:
    """Widen a span by the line end before it, which :func:`merge` put there, and the one after it."""
    eol = _eol(text[begin:end])
    start = begin - len(eol) if text[:begin].endswith(eol) else begin
    return start, end + 1 if text[end : end + 1] == b"\n" else end


def _digest(lines: list[bytes]) -> str:
    return hashlib.blake2b(b"\n".join(lines), digest_size=8).hexdigest()


def _eol(text: bytes) -> bytes:
    return b"\r\n" if b"\r\n" in text else b"\n"


def merge(text: bytes, blocks: str, key: str) -> bytes:
    r"""Return ``text`` with ``blocks`` as its generated part, in place of an earlier one or at the end.

    A line end is put before the part whatever comes before, so that a last line without one, a comment even, stays
    whole, and :func:`remove` need not guess.

    Args:
        text: The file's bytes.
        blocks: ``model_warmup`` fields in protobuf's text format, plain ASCII, lines ending in ``\n``.
        key: What the blocks were made from, lower-case hexadecimal; kept in the marker for :func:`own_span`.

    Raises:
        TritonConfigError: ``text`` cannot be read, or ``blocks`` would change anything but ``model_warmup``.
    """
    if any(name != b"model_warmup" for name in top_level_words(blocks.encode())):
        msg = "the generated blocks hold fields of another kind than model_warmup; mend their template"
        raise TritonConfigError(msg)
    base, span = remove(text), own_span(text)
    eol = _eol(span.inside(text) if span else text)
    lines = blocks.strip("\n").encode("ascii").split(b"\n")
    head = _BEGIN.format(key=key, digest=_digest(lines)).encode()
    part = eol + eol.join([head, *lines, _END.encode()]) + eol
    merged = text + part if span is None else text[: span.start] + part + text[span.end :]
    if remove(merged) != base:
        msg = "the generated part would not be found again in this file; nothing was written"
        raise TritonConfigError(msg)
    return merged


@lru_cache(maxsize=4)
def remove(text: bytes) -> bytes:
    """Return ``text`` without its generated part: the bytes that were there before :func:`merge`.

    Raises:
        TritonConfigError: Something that is not ``model_warmup`` was put between the markers and would be lost.
    """
    span = own_span(text)
    if span is None:
        return text
    base = span.outside(text)
    if any(name != b"model_warmup" for name in top_level_words(span.inside(text))):
        where = line_of(text, span.start) + 1
        raise TritonConfigError(f"line {where}: the generated part holds fields of another kind: move them out of it")
    if _meaning(base) != _meaning(text):
        msg = "the file would mean something else without its generated part; nothing was written"
        raise TritonConfigError(msg)
    return base


def own_blocks(text: bytes) -> list[Any]:
    """Return the ``ModelWarmup`` messages of the generated part."""
    blocks = list(parse(text).model_warmup)
    for mine in parse(remove(text)).model_warmup:
        blocks.remove(mine)
    return blocks


def _meaning(text: bytes) -> bytes:
    """Return what a config says, ``model_warmup`` aside, in a form that can be compared."""
    config = ModelConfig()
    config.CopyFrom(parse(text))
    config.ClearField("model_warmup")
    return bytes(config.SerializeToString(deterministic=True))
