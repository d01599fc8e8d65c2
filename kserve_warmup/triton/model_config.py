"""Triton's model configuration as text: the message that it means, and its comments, strings and brackets by position.

What is edited by position moves nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from google.protobuf import text_format

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig

BOM = b"\xef\xbb\xbf"

Kind = Literal["comment", "string", "open", "close"]

# A comment ends at a line feed only, and a string never crosses one: what the C++ tokenizer takes. Whatever is between
# these tokens is left to protobuf's parser, which every text goes through as well.
_TOKEN = re.compile(
    rb"""
    (?P<comment> \#[^\n]* )
    | (?P<string> "(?:[^"\\\n]|\\[^\n])*" | '(?:[^'\\\n]|\\[^\n])*' )
    | (?P<open> [{\[<] )
    | (?P<close> [}\]>] )
    """,
    re.VERBOSE,
)
_WORD = re.compile(rb"[A-Za-z0-9_]+")


class Token(NamedTuple):
    """A piece of text: bytes ``start`` to ``end``; ``depth`` brackets were open before it."""

    kind: Kind
    start: int
    end: int
    depth: int


def line_of(text: bytes, position: int) -> int:
    """Return the line number (from 1) of a byte position."""
    return text.count(b"\n", 0, position) + 1


def tokens(text: bytes) -> Iterator[Token]:
    """Yield the tokens of ``text``.

    Raises:
        TritonConfigError: Brackets close that were never opened, or stay open.
    """
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "close" and depth == 0:
            raise TritonConfigError(f"line {line_of(text, match.start())}: {match.group().decode()} closes nothing")
        yield Token(kind, match.start(), match.end(), depth)  # type: ignore[arg-type]
        depth += (kind == "open") - (kind == "close")
    if depth:
        msg = "a bracket is never closed"
        raise TritonConfigError(msg)


def blank_comments(text: bytes) -> bytes:
    """Return ``text`` with spaces for its comments and its byte order mark; every other byte keeps its place."""

    def blank(match: re.Match[bytes]) -> bytes:
        return b" " * len(match.group()) if match.lastgroup == "comment" else match.group()

    plain = _TOKEN.sub(blank, text) if b"#" in text else text
    return b"   " + plain.removeprefix(BOM) if plain.startswith(BOM) else plain


def top_level_words(text: bytes) -> list[bytes]:
    """Return the words outside brackets, strings and comments: top-level field names, and bare values."""
    kept, end = bytearray(), 0
    for token in tokens(text):
        if token.depth == 0:
            kept += text[end : token.start] + b" "
        end = token.end
    return _WORD.findall(bytes(kept + text[end:]))


@lru_cache(maxsize=8)
def parse(text: bytes) -> ModelConfig:
    """Return the config that ``text`` holds; fields that this version of the message does not know are passed over.

    The message is shared between callers, since protobuf's parser is slow: copy it before you change it.

    Raises:
        TritonConfigError: It is no config, with the line where reading stopped.
    """
    message = ModelConfig()
    try:
        text_format.Parse(_readable(text), message, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise TritonConfigError(f"not a model configuration: {' '.join(str(error).split())}") from None
    return message


def _readable(text: bytes) -> str:
    """Return ``text`` for protobuf's parser, without comments, which may be in any encoding."""
    plain = blank_comments(text)
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return plain.decode("latin-1")  # a string in another encoding; it is compared, never written
