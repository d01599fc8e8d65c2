"""A lexer for protobuf's text format that works on bytes and keeps positions, because nothing may be lost or moved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kserve_warmup.errors import TritonConfigError

BOM = b"\xef\xbb\xbf"

Kind = Literal["comment", "string", "word", "open", "close", "mark"]

# Whitespace is what the C++ tokenizer skips; a comment ends at a line feed only, a string never crosses one.
_TOKEN = re.compile(
    rb"""
    [ \t\r\n\v\f]+
    | (?P<comment> \#[^\n]* )
    | (?P<string> "(?:[^"\\\n]|\\[^\n])*" | '(?:[^'\\\n]|\\[^\n])*' )
    | (?P<word> [A-Za-z0-9_.+-]+ )
    | (?P<open> [{\[<] )
    | (?P<close> [}\]>] )
    | (?P<mark> [:;,/] )
    """,
    re.VERBOSE,
)
_PAIRS = {b"}": b"{", b"]": b"[", b">": b"<"}


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text: bytes ``start`` to ``end``; ``depth`` brackets were open before it."""

    kind: Kind
    start: int
    end: int
    depth: int


def line_of(text: bytes, position: int) -> int:
    """Return the line number (from 1) of a byte position."""
    return text.count(b"\n", 0, position) + 1


def tokens(text: bytes) -> Iterator[Token]:
    """Yield every token of ``text``, comments included.

    Raises:
        TritonConfigError: A byte that no token begins with, an unfinished string, or brackets that do not match.
    """
    position = len(BOM) if text.startswith(BOM) else 0
    brackets: list[bytes] = []
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise TritonConfigError(
                f"line {line_of(text, position)}: {text[position : position + 1]!r} does not belong there"
            )
        kind = match.lastgroup
        if kind == "close" and (not brackets or brackets.pop() != _PAIRS[match.group()]):
            raise TritonConfigError(f"line {line_of(text, position)}: {match.group().decode()} closes nothing")
        if kind is not None:
            yield Token(kind, match.start(), match.end(), len(brackets))  # type: ignore[arg-type]
        if kind == "open":
            brackets.append(match.group())
        position = match.end()
    if brackets:
        raise TritonConfigError(f"the last {brackets[-1].decode()} is never closed")
