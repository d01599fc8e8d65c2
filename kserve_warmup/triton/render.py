"""Blocks and minimal configurations as protobuf text, through Jinja2 templates that a user may replace."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from google.protobuf import text_encoding

from kserve_warmup.errors import TritonConfigError
from kserve_warmup.triton.blocks import Block

WARMUP_TEMPLATE = "model_warmup.pbtxt.j2"
CONFIG_TEMPLATE = "config.pbtxt.j2"


class Bare(str):
    """Text that stands in pbtxt without quotes: an enum's name, a comment."""

    __slots__ = ()


def literal(value: Any) -> str:
    """Return a template expression's value as pbtxt: text quoted and escaped by protobuf, never pasted."""
    if isinstance(value, Bare):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, str):
        return f'"{text_encoding.CEscape(value, as_utf8=False)}"'
    raise TritonConfigError(f"a template writes a {type(value).__name__}, which pbtxt has no form for: write its items")


def enum(value: str) -> Bare:
    """Return an enum's name, such as ``TYPE_FP32``, to be written without quotes."""
    if not value.isidentifier() or not value.isascii():
        raise TritonConfigError(f"{value!r} is not an enum's name")
    return Bare(value)


def comment(value: str) -> Bare:
    """Return text for a comment: one line, printable ASCII."""
    return Bare("".join(c if c.isascii() and c.isprintable() else "?" for c in str(value)))


def default_templates() -> Path:
    """Return the folder of the package's own templates: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "triton_templates"
    return inside if inside.is_dir() else package.parent / "triton_templates"


class Templates:
    """The templates of one folder, the package's own where it has none of a name.

    Every ``{{ expression }}`` is written as a pbtxt literal; the filters ``enum`` and ``comment`` write it bare.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Compile nothing yet."""
        if folder is not None and not folder.is_dir():
            raise TritonConfigError(f"--templates {folder} is not a folder")
        folders = [f for f in (folder, default_templates()) if f]
        self._environment = jinja2.Environment(  # noqa: S701 (not HTML: `finalize` escapes for pbtxt)
            loader=jinja2.FileSystemLoader(folders),
            undefined=jinja2.StrictUndefined,
            finalize=literal,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"enum": enum, "comment": comment}
        self._source = cache(self._read)
        self._template = cache(self._environment.get_template)

    def _read(self, name: str) -> str:
        assert self._environment.loader is not None
        return self._environment.loader.get_source(self._environment, name)[0]

    def source(self, name: str) -> str:
        """Return a template's text."""
        return self._source(name)

    def warmup(self, blocks: Sequence[Block]) -> str:
        """Return the ``model_warmup`` fields for ``blocks``."""
        return self._render(WARMUP_TEMPLATE, blocks=blocks)

    def config(self, **values: Any) -> str:
        """Return a minimal ``config.pbtxt``."""
        return self._render(CONFIG_TEMPLATE, **values)

    def _render(self, name: str, **values: Any) -> str:
        try:
            text = self._template(name).render(**values)
        except jinja2.TemplateError as error:
            raise TritonConfigError(f"template {name}: {error}") from None
        if not text.isascii():
            raise TritonConfigError(f"template {name} writes text beyond ASCII: use escapes in strings")
        return text
