"""YAML as it stands in the file: values with their places, nothing built from tags and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from kserve_warmup.lint.findings import Position, UnreadableError

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Place:
    """A value with its place; one that is missing has no node, and neither has anything in it."""

    node: Any = None
    key: Any = None

    def __bool__(self) -> bool:
        """Return whether it is there; ``null`` counts as missing, as it does in Kubernetes."""
        return self.node is not None and not self.node.tag.endswith(":null")

    def __getitem__(self, name: str) -> Place:
        """Return what a mapping has under ``name``."""
        for key, value in _pairs(self.node):
            if key.value == name:
                return Place(value, key)
        return Place()

    def __iter__(self) -> Iterator[Place]:
        """Yield the items of a list."""
        if isinstance(self.node, yaml.SequenceNode):
            for item in self.node.value:
                yield Place(item)

    def keys(self) -> list[str]:
        """Return the names in a mapping, those that it takes over with ``<<`` too."""
        return [key.value for key, _ in _pairs(self.node) if isinstance(key.value, str)]

    @property
    def text(self) -> str:
        """Return a scalar as it is read, nothing if it is none."""
        return self.node.value if self and isinstance(self.node, yaml.ScalarNode) else ""

    def number(self, default: int) -> int:
        """Return a whole number, ``default`` where there is none."""
        try:
            return int(self.text, 0)
        except ValueError:
            return default

    @property
    def texts(self) -> list[str]:
        """Return the scalars of a list."""
        return [item.text for item in self]

    @property
    def position(self) -> Position:
        """Return where it begins: its key, where it has one."""
        return _at((self.key or self.node).start_mark)

    @property
    def span(self) -> tuple[int, int]:
        """Return the characters that the value takes."""
        return self.node.start_mark.index, self.node.end_mark.index


MOST_MERGES = 16
"""How deep ``<<`` is followed; an anchor may hold itself."""


def _pairs(node: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    if not isinstance(node, yaml.MappingNode) or depth > MOST_MERGES:
        return
    merged: list[Any] = []
    for key, value in node.value:
        if key.tag == _MERGE:
            merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
        else:
            yield key, value
    for base in merged:
        yield from _pairs(base, depth + 1)


def _at(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1, mark.index)


def documents(text: str) -> Iterator[Place]:
    """Yield the documents of a text, up to the first that is no YAML.

    Raises:
        UnreadableError: it is no YAML; says where and, if it looks like a template, how to render it.
    """
    try:
        loader = _LOADER(text)
    except (UnicodeEncodeError, yaml.YAMLError):
        msg = "no YAML: it holds bytes or characters that no YAML has"
        raise UnreadableError(msg) from None
    try:
        while loader.check_node():
            yield Place(loader.get_node())
    except yaml.YAMLError as error:
        raise UnreadableError(_told(error, text)) from None
    except RecursionError:
        msg = "it is nested too deeply to be a manifest"
        raise UnreadableError(msg) from None
    finally:
        loader.dispose()


def _told(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    if "{{" in text:
        return f"{where}a template and no YAML: render it first (helm template … | kserve-warmup lint -)"
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
    return f"{where}no YAML: {what}"
