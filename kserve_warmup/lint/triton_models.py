"""A Triton model as the rules look at it: its configuration, and where in the text each warm-up block stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.lint.findings import Position, UnreadableError
from kserve_warmup.protocols.generated.model_config_pb2 import ModelConfig
from kserve_warmup.triton.model_config import blank_comments, parse, tokens
from kserve_warmup.triton.warmup_files import CONFIG, WARMUP

_FIELD = re.compile(rb"\bmodel_warmup\b")


@dataclass(frozen=True, slots=True)
class TritonModel:
    """A model's folder with its configuration; ``starts`` are the byte positions at which its warm-up blocks begin."""

    folder: Path
    text: bytes = field(repr=False)
    config: ModelConfig = field(repr=False)
    starts: tuple[tuple[int, int], ...] = ()

    @property
    def name(self) -> str:
        """Return its name: the folder's, as Triton has it."""
        return self.folder.name

    def blocks(self) -> Iterator[tuple[Any, Position]]:
        """Yield the warm-up blocks with their places."""
        for number, block in enumerate(self.config.model_warmup):
            start = self.starts[number][0] if number < len(self.starts) else 0
            yield block, self.at(start)

    def within(self, number: int, word: str) -> Position:
        """Return where a word first stands in a block, or the block's own place."""
        if number >= len(self.starts):
            return Position()
        start, end = self.starts[number]
        found = re.compile(rb"\b" + re.escape(word.encode()) + rb"\b").search(blank_comments(self.text), start, end)
        return self.at(found.start() if found else start)

    def at(self, byte: int) -> Position:
        """Return a byte position as a place in the text."""
        before = self.text[:byte].decode("utf-8", "replace")
        return Position(before.count("\n") + 1, len(before) - before.rfind("\n"), len(before))

    @property
    def warmed(self) -> bool:
        """Return whether a block of it runs at all: Triton passes over those with a batch size of 0."""
        return any(block.batch_size for block in self.config.model_warmup)

    @property
    def warmup_folder(self) -> Path:
        """Return where the data files of its blocks are."""
        return self.folder / WARMUP


def read_model_file(path: Path, data: bytes) -> TritonModel:
    """Return the model of a ``config.pbtxt``.

    Raises:
        UnreadableError: it is no model configuration.
    """
    try:
        config = parse(data)
        starts = tuple(_block_spans(data))
    except TritonConfigError as error:
        raise UnreadableError(str(error)) from None
    folder = path.resolve().parent
    return TritonModel(folder if path.name == CONFIG else folder.parent, data, config, starts)


def _block_spans(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the span of each block of ``model_warmup``, written one by one or as a list."""
    plain = blank_comments(data)
    fields = [match.start() for match in _FIELD.finditer(plain)]
    opened: list[tuple[int, int, bool]] = []
    last = 0
    for token in tokens(data):
        if token.kind == "open":
            ours = any(last <= f < token.start for f in fields) and token.depth == 0
            inside = bool(opened) and opened[-1][2] and data[opened[-1][0] : opened[-1][0] + 1] == b"["
            opened.append((token.start, max((f for f in fields if f < token.start), default=0), ours or inside))
        elif token.kind == "close" and opened:
            start, at, ours = opened.pop()
            listed = bool(opened) and opened[-1][2]
            if ours and data[start : start + 1] != b"[":
                yield (start if listed else at), token.end
        if token.kind != "comment":
            last = token.end
