"""The one module that knows YAML: documents in, documents with comments out; every value goes through PyYAML."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kserve_warmup.errors import WarmupError
from kserve_warmup.manifests.kubernetes_objects import Path as Place
from kserve_warmup.printable import printable

MOST_BYTES = 4 << 20
"""Of a file that is read: etcd takes no object above 1.5 MiB."""

WIDTH = 120


def documents(path: Path) -> list[Any]:
    """Return the documents of a file, empty ones left out; read as Kubernetes reads them, so a key may stand but once.

    Raises:
        WarmupError: it cannot be read, is no YAML, or is too large.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise WarmupError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise WarmupError(f"{path} is larger than {MOST_BYTES >> 20} MiB: Kubernetes takes no such object")
    try:
        text = data.decode()
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            _check_keys(node, set(), set())
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except UnicodeDecodeError:
        raise WarmupError(f"{path} is not UTF-8 text") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WarmupError(f"{path} is no YAML that can be used: {' '.join(str(error).split())}") from None


def _check_keys(node: Any, around: set[int], done: set[int]) -> None:
    """Refuse a mapping with a key that stands in it twice: whose value counts no two readers agree on.

    Raises:
        ValueError: there is one, or an anchor's content holds itself.
    """
    if id(node) in around:
        raise ValueError("an anchor's content holds itself")
    if id(node) in done:  # what many aliases name is looked at once
        return
    done.add(id(node))
    inside = {*around, id(node)}
    if isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys and key.value != "<<":
                raise ValueError(f"line {key.start_mark.line + 1}: the key {key.value!r} stands there twice")
            keys.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            _check_keys(value, inside, done)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, inside, done)


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Indents lists in mappings, as Kubernetes' own examples have it, and writes no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # noqa: ARG002  (PyYAML passes it)
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (PyYAML passes it)
        return True


def _text(dumper: Any, text: str) -> Any:
    """Write several lines as several lines, for people to read; YAML quotes what would not come out the same."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def written(document: Any, comments: Mapping[Place, str] | Iterable[tuple[Place, str]] = (), *head: str) -> str:
    """Return a document as YAML; ``comments`` stand above what they name, the lines of ``head`` above all.

    A comment names a key of a mapping or an item of a list; for one whose place there is not, ``KeyError`` is raised.
    """
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=False)
    lines = text.splitlines()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    above: dict[int, list[str]] = {}
    for place, comment in dict(comments).items():
        mark = _mark(root, place)
        indent = len(lines[mark.line]) - len(lines[mark.line].lstrip(" "))
        above.setdefault(mark.line, []).extend(_comment(comment, " " * indent))
    body = [line for number, own in enumerate(lines) for line in (*above.get(number, ()), own)]
    return "\n".join([*(f"# {printable(line)}" for line in head), *body, ""])


def _mark(node: Any, place: Place) -> Any:
    """Return where a key, or an item of a list, begins."""
    mark = None
    for step in place:
        if isinstance(node, yaml.MappingNode):
            mark, node = next((key.start_mark, value) for key, value in node.value if key.value == step)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            mark = node.start_mark
        else:
            raise KeyError(place)
    return mark


def _comment(text: str, indent: str) -> list[str]:
    lines = textwrap.wrap(printable(text), WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
    return [f"{indent}# {line}" for line in lines]
